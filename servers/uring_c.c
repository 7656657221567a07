/* What io_uring makes of the floor: one thread, one ring, no library.
 *
 * The unit of concurrency is a file descriptor; control switches at io_uring_enter,
 * which hands over all requests of a turn and waits for what has completed.
 *
 * Clients are accepted by one request that stays. Each client is received from by a
 * request that stays, too, until it has given 64 KiB (Linux 6.17); before that version
 * by one request for each read. Bytes arrive in one of a few shared buffers and are
 * sent from there at once. What a client does not take at once is kept in memory of
 * its own, and while anything is kept no new request to receive is made: so a client
 * that does not read is held back by TCP itself, and holds at most four reads. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READ_BYTES = 65536, BUFFERS = 128, ENTRIES = 1024, RESULTS = 16384 };
enum kind { ACCEPT, RETRY, CLOSE, RECEIVE, ECHO, REST };

struct chunk { struct chunk *next; size_t length, sent; char data[]; };

struct client {
    int fd;
    unsigned buffer, length; /* that its first send is from, and how much of it is sent */
    char receiving, sending, ended, broken;
    struct chunk *kept, **end; /* what it has not taken yet, in order */
    struct client *next; /* that is hungry, too */
};

static int ring;
static unsigned *sq_head, *sq_tail, *sq_flags, sq_mask, *cq_head, *cq_tail, cq_mask;
static struct io_uring_sqe *requests;
static struct io_uring_cqe *completed;
static struct io_uring_buf_ring *buffers;
static char *memory; /* of the buffers */

/* Buffers that are sent from. Only a send that did not take everything is reported, so
 * they are free again when what was reported of them has been read, in the next turn. */
static struct { struct client *client; unsigned buffer; } lent[BUFFERS];
static unsigned lent_count;

static struct client *hungry; /* found no free buffer; asked again when there are some */

static int limited = 1; /* a request to receive may stay until it has given 64 KiB */
static int full;        /* out of descriptors or memory: no accepting until a client leaves */
static int hasty;       /* the end of a send is waited for, and nothing will report it */

static struct io_uring_sqe *request(enum kind kind, struct client *client, int what, int fd)
{
    struct io_uring_sqe *made = &requests[*sq_tail & sq_mask];
    memset(made, 0, sizeof *made);
    made->opcode = what;
    made->fd = fd;
    made->user_data = (uintptr_t)client | kind;
    __atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
    return made;
}

static unsigned requested(void)
{
    return *sq_tail - __atomic_load_n(sq_head, __ATOMIC_ACQUIRE);
}

static void give_back(unsigned buffer)
{
    unsigned short tail = buffers->tail;
    struct io_uring_buf *place = &buffers->bufs[tail % BUFFERS];
    place->addr = (uintptr_t)(memory + (size_t)buffer * READ_BYTES);
    place->len = READ_BYTES;
    place->bid = buffer;
    __atomic_store_n(&buffers->tail, tail + 1, __ATOMIC_RELEASE);
}

static void accept_clients(void)
{
    full = 0;
    struct io_uring_sqe *made = request(ACCEPT, NULL, IORING_OP_ACCEPT, STDIN_FILENO);
    made->ioprio = IORING_ACCEPT_MULTISHOT;
    made->accept_flags = SOCK_CLOEXEC;
}

static void receive(struct client *client)
{
    struct io_uring_sqe *made = request(RECEIVE, client, IORING_OP_RECV, client->fd);
    made->flags = IOSQE_BUFFER_SELECT;
    if (limited) {
        made->ioprio = IORING_RECV_MULTISHOT;
        made->file_index = READ_BYTES; /* newer headers call it optlen: in all */
    } else {
        made->len = READ_BYTES;
    }
    client->receiving = 1;
}

static struct io_uring_sqe *send_to(struct client *client, enum kind kind, char *data, size_t length)
{
    struct io_uring_sqe *made = request(kind, client, IORING_OP_SEND, client->fd);
    made->addr = (uintptr_t)data;
    made->len = length;
    made->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
    client->sending = 1;
    return made;
}

static void broken(struct client *client)
{
    client->broken = 1;
    shutdown(client->fd, SHUT_RDWR); /* so that its request to receive ends as well */
}

/* Keeps what could not be sent: after what is kept already, or before it. */
static void keep(struct client *client, const char *data, size_t length, int before)
{
    struct chunk *chunk = malloc(sizeof *chunk + length);
    if (!chunk) { broken(client); return; }
    struct chunk **place = before || !client->kept ? &client->kept : client->end;
    *chunk = (struct chunk){ .next = *place, .length = length };
    memcpy(chunk->data, data, length);
    *place = chunk;
    if (!chunk->next) client->end = &chunk->next;
}

static void drop(struct client *client)
{
    struct chunk *first = client->kept;
    client->kept = first->next;
    free(first);
}

/* What is next for a client, when nothing is being sent to it. */
static void go_on(struct client *client)
{
    if (client->sending) return;
    struct chunk *first = client->kept;
    if (first && !client->broken) {
        send_to(client, REST, first->data + first->sent, first->length - first->sent);
    } else if (!client->receiving && (client->ended || client->broken)) {
        request(CLOSE, NULL, IORING_OP_CLOSE, client->fd)->flags = IOSQE_CQE_SKIP_SUCCESS;
        while (client->kept) drop(client);
        free(client);
        if (full) accept_clients();
    } else if (!client->receiving) {
        receive(client);
    }
}

static void greet(int fd, int more)
{
    static struct __kernel_timespec soon = { .tv_nsec = 100 * 1000 * 1000 };
    if (fd >= 0) {
        struct client *client = calloc(1, sizeof *client);
        if (client) {
            client->fd = fd;
            receive(client);
        } else {
            close(fd); /* this client is turned away */
        }
    } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
        full = 1; /* the shortage may be another's doing: try again soon in any case */
        struct io_uring_sqe *made = request(RETRY, NULL, IORING_OP_TIMEOUT, -1);
        made->addr = (uintptr_t)&soon;
        made->len = 1;
    } else if (fd == -EINVAL || fd == -ENOTSOCK) {
        fputs("standard input is no listening socket\n", stderr);
        exit(1);
    }
    if (!more && !full) accept_clients();
}

static void received(struct client *client, int result, unsigned flags)
{
    unsigned buffer = flags >> IORING_CQE_BUFFER_SHIFT;
    char *data = memory + (size_t)buffer * READ_BYTES;
    client->receiving = (flags & IORING_CQE_F_MORE) != 0;
    if (result == -ENOBUFS) {
        client->receiving = 1;
        client->next = hungry;
        hungry = client;
    } else if (result == -EINVAL && limited) {
        limited = 0; /* an older kernel */
    } else if (result == 0 || (result < 0 && result != -EINTR)) {
        client->ended = 1;
        if (result) broken(client);
        hasty = 1;
    } else if (result > 0 && (client->sending || client->kept)) {
        keep(client, data, result, 0);
        give_back(buffer);
        hasty = 1;
    } else if (result > 0) {
        struct io_uring_sqe *made = send_to(client, ECHO, data, result);
        made->flags = IOSQE_CQE_SKIP_SUCCESS;
        made->msg_flags |= MSG_DONTWAIT;
        client->buffer = buffer;
        client->length = result;
        lent[lent_count].client = client;
        lent[lent_count++].buffer = buffer;
        if (!client->receiving) receive(client); /* this is done after the send */
    }
    go_on(client);
}

/* A send from a shared buffer did not take everything. */
static void left_over(struct client *client, int result)
{
    unsigned took = result > 0 ? result : 0;
    char *data = memory + (size_t)client->buffer * READ_BYTES;
    if (result < 0 && result != -EAGAIN && result != -EINTR) broken(client);
    else keep(client, data + took, client->length - took, 1);
}

static void rest_sent(struct client *client, int result)
{
    client->sending = 0;
    if (result > 0) client->kept->sent += result;
    else if (result != -EINTR && result != -EAGAIN) broken(client);
    if (client->kept->sent == client->kept->length) drop(client);
    go_on(client);
}

static struct client *client_of(const struct io_uring_cqe *event)
{
    return (struct client *)(uintptr_t)(event->user_data & ~(uint64_t)15);
}

static enum kind kind_of(const struct io_uring_cqe *event)
{
    return event->user_data & 15;
}

static void handle(const struct io_uring_cqe *event)
{
    switch (kind_of(event)) {
    case ACCEPT: greet(event->res, event->flags & IORING_CQE_F_MORE); break;
    case RETRY: if (full) accept_clients(); break;
    case RECEIVE: received(client_of(event), event->res, event->flags); break;
    case REST: rest_sent(client_of(event), event->res); break;
    case CLOSE: case ECHO: break; /* a send that failed: seen to before */
    }
}

static void see_to_failures(unsigned head, unsigned tail)
{
    for (; head != tail; head++) {
        struct io_uring_cqe *event = &completed[head & cq_mask];
        if (kind_of(event) == ECHO) {
            left_over(client_of(event), event->res);
            event->user_data = CLOSE; /* it may be read again */
        }
    }
}

/* Frees what was sent from. */
static void settle(void)
{
    for (unsigned i = 0; i < lent_count; i++) {
        give_back(lent[i].buffer);
        lent[i].client->sending = 0;
        go_on(lent[i].client);
    }
    lent_count = 0;
    for (unsigned left = BUFFERS; hungry && left; left--) {
        struct client *client = hungry;
        hungry = client->next;
        receive(client);
    }
}

static void *map(size_t bytes, int fd, off_t offset)
{
    int how = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED | MAP_POPULATE;
    void *found = mmap(NULL, bytes, PROT_READ | PROT_WRITE, how, fd, offset);
    if (found == MAP_FAILED) { perror("mmap"); exit(1); }
    return found;
}

static void set_up(void)
{
    struct io_uring_params asked = {
        .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER
                 | IORING_SETUP_DEFER_TASKRUN,
        .cq_entries = RESULTS,
    };
    ring = syscall(SYS_io_uring_setup, ENTRIES, &asked);
    if (ring < 0 && errno == EINVAL) { /* before Linux 6.1 */
        asked.flags &= ~(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
        ring = syscall(SYS_io_uring_setup, ENTRIES, &asked);
    }
    if (ring < 0) { perror("io_uring_setup"); exit(1); }
    size_t bytes = asked.cq_off.cqes + asked.cq_entries * sizeof *completed;
    size_t least = asked.sq_off.array + asked.sq_entries * sizeof(unsigned);
    char *both = map(bytes > least ? bytes : least, ring, IORING_OFF_SQ_RING);
    requests = map(asked.sq_entries * sizeof *requests, ring, IORING_OFF_SQES);
    completed = (struct io_uring_cqe *)(both + asked.cq_off.cqes);
    sq_head = (unsigned *)(both + asked.sq_off.head);
    sq_tail = (unsigned *)(both + asked.sq_off.tail);
    sq_flags = (unsigned *)(both + asked.sq_off.flags);
    sq_mask = *(unsigned *)(both + asked.sq_off.ring_mask);
    cq_head = (unsigned *)(both + asked.cq_off.head);
    cq_tail = (unsigned *)(both + asked.cq_off.tail);
    cq_mask = *(unsigned *)(both + asked.cq_off.ring_mask);
    unsigned *order = (unsigned *)(both + asked.sq_off.array);
    for (unsigned i = 0; i < asked.sq_entries; i++) order[i] = i;

    memory = map((size_t)BUFFERS * READ_BYTES, -1, 0);
    buffers = map(BUFFERS * sizeof(struct io_uring_buf), -1, 0);
    struct io_uring_buf_reg shared = { .ring_addr = (uintptr_t)buffers, .ring_entries = BUFFERS };
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_PBUF_RING, &shared, 1) < 0) {
        perror("shared buffers need Linux 5.19");
        exit(1);
    }
    for (unsigned i = 0; i < BUFFERS; i++) give_back(i);
}

int main(void)
{
    set_up();
    accept_clients();
    for (;;) {
        unsigned wait = !hasty && !hungry;
        hasty = 0;
        int done = syscall(SYS_io_uring_enter, ring, requested(), wait, IORING_ENTER_GETEVENTS,
                           NULL, 0);
        if (done < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY) {
            perror("io_uring_enter");
            return 1;
        }
        unsigned overflow = __atomic_load_n(sq_flags, __ATOMIC_ACQUIRE) & IORING_SQ_CQ_OVERFLOW;
        unsigned head = *cq_head, tail = __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE);
        see_to_failures(head, tail);
        if (!requested() && !overflow) settle(); /* all sends are made, all failures are seen to */
        else hasty = 1;
        for (; head != tail && requested() + 4 <= ENTRIES; head++)
            handle(&completed[head & cq_mask]);
        __atomic_store_n(cq_head, head, __ATOMIC_RELEASE);
    }
}
