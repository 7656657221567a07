/* The client's inner loops in C: connecting, closed loop, open loop, storm and churn.
 *
 * native_crowd.py loads this as a shared library, and decides what is not done for each message: when
 * the slice begins and ends, what is reported, how long anything may take. Both sides read and write
 * one struct, and turn() is called again and again. What this side cannot decide it asks by the
 * callbacks in that struct.
 *
 * The rules are those of conversations.py and pacing.py, and so are the names. A message is
 * `id | filler | number`. Sockets are edge-triggered: each is read until the kernel has no more.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 512,          /* sockets that are read before anything else is looked at */
    BURST = 32,            /* messages that leave, or clients that connect, before echoes are read */
    IN_BYTES = 256 * 1024, /* read at a time */
    OUT_BYTES = 64 * 1024, /* written at a time, where messages are smaller */
    REASONS = 256,
    CLOSED = 0,            /* reasons: an errno, the server's end of stream, or a fault */
    MISDIRECTED = 250,
    DOUBLED,
    ALTERED,
};

#define NEVER INT64_MAX
#define MS 1000000ll
#define CHORE_NS 200000ll   /* when the next message is this far off, a chunk of the schedule fits in */
#define FAR_NS 1500000ll    /* when it is this far off, a timer is exact enough */
#define MARGIN_NS 600000ll  /* what a timer leaves for spinning */
#define PAUSE_NS 10000000ll /* after a failure to connect, so that failing is not a busy loop */
#define HIGHEST_NS 3600000000000ll
#define GENERATION (1ull << 40) /* between the ids of a client and its replacement */

enum state { NOT_YET, CONNECTING, GREETING, THERE, LEAVING, PAUSING, ENDED, MUTED };

/* One connection, in one cache line. */
struct client {
    int32_t fd;
    uint8_t state, again; /* again: it echoes once more, for idle */
    uint16_t address;     /* the address that is tried */
    uint32_t got;         /* bytes of the current echo that have come */
    uint32_t written;     /* bytes of the first message that waits, which the kernel has taken */
    uint32_t on_the_way;  /* messages without a whole echo; the last ones may still wait */
    uint32_t backlog;     /* messages that wait until the kernel takes them */
    uint32_t first, last; /* the times of what is on its way: a list of nodes; 0: none */
    uint64_t id;
    uint64_t number;      /* of the awaited echo; also how many have come */
    int64_t sent_ns;      /* without nodes: when it was sent; while connecting: when that began */
    uint32_t sent_in_slice, echoed_in_slice;
};
_Static_assert(sizeof(struct client) == 64, "a client takes one cache line");

struct node { int64_t intended_ns, sent_ns; uint64_t next; };

/* HdrHistogram's buckets, as in latencies.py. row: the coarse buckets of the interval, or NULL. */
struct histogram { int64_t *counts; uint32_t *row; int64_t count, ever, sum_ns, last_ns; };

struct list { int64_t *values, count, room; };

struct address { uint32_t bytes; struct sockaddr_storage socket; };

/* What both sides share: native.py has the same fields in the same order. */
struct loops {
    /* conversations.Meter */
    int64_t alarm_ns, heard_ns, gap_ns, sending, there;
    void (*ring)(int64_t now_ns, int64_t echoes, int64_t noted);
    void (*gap)(int64_t now_ns);
    struct histogram *latency, *arrivals, *from_send, *least, *lag, *read_lag;
    /* the clients */
    struct client *client;
    int64_t clients, depth, bytes;
    uint8_t *message; /* the filler, with room for id and number */
    int32_t *served;  /* those that had an echo, in that order */
    int64_t served_count, connected, connecting_ns;
    int64_t *failed_connecting, *failed_greeting, *errors, *faults;
    struct list unanswered; /* when it was sent that the end of a connection left without an echo */
    /* connecting */
    struct address *addresses, *sources;
    int64_t address_first, address_end, source_count, source_next;
    int64_t at_once, in_flight, next_client;
    /* the open loop */
    int64_t pacing, next_ns, next_who, slice_ns, looked_ns;
    int64_t before_ns; /* no echo of this look had come then */
    int64_t outstanding, limit, early_sent, early_echoed;
    int64_t *due_ns, *due_who, due_at, due_count, chores;
    void (*more)(void), (*chore)(void), (*give_up)(void);
    struct list unsent;
    /* churn, and idle's second echo */
    int64_t churning, within, retried;
    int64_t *queue, queue_first, queue_count, *pausing, pausing_first, pausing_count;
    int64_t again_next, again_in_flight;
    /* its own */
    int64_t leave, poller, node_count, node_room, node_free;
    struct node *nodes;
    uint8_t *in, *out;
};

int64_t size_of_loops(void) { return sizeof(struct loops); }

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* Latencies */

int64_t bucket_of(int64_t ns)
{
    int64_t doubling = 53 - __builtin_clzll((uint64_t)ns | 2047);
    return ((doubling + 1) << 10) + (ns >> doubling) - 1024;
}

int64_t coarse_of(int64_t ns) /* floor(4 log2(ns / 1024)), within 0 to 127 */
{
    if (ns < 1024) return 0;
    int shift = __builtin_clzll(ns);
    uint64_t mantissa = (uint64_t)ns << shift; /* from 2**63 on; then 2**63 times 2**(1/4), (2/4), (3/4) */
    int64_t quarters = (mantissa >= 10968499650544839024ull) + (mantissa >= 13043817825332782213ull)
                       + (mantissa >= 15511800964685064949ull);
    int64_t bucket = 4 * (53 - shift) + quarters;
    return bucket < 127 ? bucket : 127;
}

static void note(struct histogram *into, int64_t ns)
{
    if (ns < 0) ns = 0;
    into->sum_ns += ns;
    if (ns > HIGHEST_NS) ns = HIGHEST_NS;
    into->counts[bucket_of(ns)]++;
    into->count++;
    into->ever++;
    into->last_ns = ns;
    if (into->row) into->row[coarse_of(ns)]++;
}

static void push(struct list *list, int64_t value)
{
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 1024;
        list->values = realloc(list->values, list->room * sizeof *list->values);
        if (!list->values) abort();
    }
    list->values[list->count++] = value;
}

/* When what is on its way was intended to leave, and when it left */

static void put_node(struct loops *l, struct client *c, int64_t intended_ns, int64_t sent_ns)
{
    uint32_t at = l->node_free;
    if (at) {
        l->node_free = l->nodes[at].next;
    } else {
        if (l->node_count == l->node_room) {
            l->node_room = l->node_room ? 2 * l->node_room : 4096;
            l->nodes = realloc(l->nodes, l->node_room * sizeof *l->nodes);
            if (!l->nodes) abort();
            if (!l->node_count) l->node_count = 1; /* 0 is none */
        }
        at = l->node_count++;
    }
    l->nodes[at] = (struct node){ intended_ns, sent_ns, 0 };
    if (c->last) l->nodes[c->last].next = at;
    else c->first = at;
    c->last = at;
}

static struct node take_node(struct loops *l, struct client *c)
{
    uint32_t at = c->first;
    struct node taken = l->nodes[at];
    c->first = taken.next;
    if (!c->first) c->last = 0;
    l->nodes[at].next = l->node_free;
    l->node_free = at;
    return taken;
}

/* What a client says */

static void stamp(struct loops *l, uint64_t id, uint64_t number)
{
    memcpy(l->message, &id, 8);
    memcpy(l->message + l->bytes - 8, &number, 8);
}

/* Gives the kernel what waits. What it does not take leaves when epoll says that it would. False when
 * the connection has ended; epoll says that, too, with the reason. */
static bool flush(struct loops *l, struct client *c)
{
    while (c->backlog) {
        uint64_t number = c->number + c->on_the_way - c->backlog;
        int64_t many = OUT_BYTES / l->bytes;
        if (many > c->backlog) many = c->backlog;
        const uint8_t *from = l->message;
        if (many > 1) {
            from = l->out;
            for (int64_t i = 0; i < many; i++) {
                stamp(l, c->id, number + i);
                memcpy(l->out + i * l->bytes, l->message, l->bytes);
            }
        } else {
            many = 1;
            stamp(l, c->id, number);
        }
        int64_t length = many * l->bytes - c->written;
        ssize_t taken = send(c->fd, from + c->written, length, MSG_NOSIGNAL);
        if (taken < 0) return errno == EAGAIN || errno == EINTR;
        c->backlog -= (c->written + taken) / l->bytes;
        c->written = (c->written + taken) % l->bytes;
        if (taken < length) return true;
    }
    return true;
}

static bool put(struct loops *l, struct client *c, uint32_t messages)
{
    bool waits = c->backlog;
    c->on_the_way += messages;
    c->backlog += messages;
    return waits || flush(l, c);
}

/* As many messages of the closed loop as may be on their way. */
static void say(struct loops *l, struct client *c, int64_t now_ns)
{
    uint32_t wanted = (l->sending ? l->depth : 1) - c->on_the_way;
    if (l->depth == 1) c->sent_ns = now_ns;
    else for (uint32_t i = 0; i < wanted; i++) put_node(l, c, now_ns, now_ns);
    put(l, c, wanted);
}

static void stretch(struct loops *l, int64_t now_ns)
{
    if (now_ns - l->heard_ns > l->gap_ns) l->gap(now_ns);
    l->heard_ns = now_ns;
}

/* Calls back for what is due. Without a further alarm the slice is over, and others have their turn. */
static void ring(struct loops *l, int64_t now_ns, int64_t echoes, int64_t noted)
{
    l->ring(now_ns, echoes, noted);
    if (l->alarm_ns == NEVER) l->leave = 1;
}

static void heard(struct loops *l, int64_t now_ns, int64_t noted)
{
    stretch(l, now_ns);
    if (now_ns >= l->alarm_ns) ring(l, now_ns, 1, noted);
}

/* Connecting */

static void dial(struct loops *l, struct client *c);
static void replace_next(struct loops *l);

static void greet_again(struct loops *l)
{
    while (l->again_in_flight < l->at_once && l->again_next < l->served_count) {
        struct client *c = l->client + l->served[l->again_next++];
        if (c->state != THERE) continue;
        c->again = 1;
        l->again_in_flight++;
        say(l, c, clock_ns());
    }
}

static void hang_up(struct client *c)
{
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->got = c->written = c->backlog = 0;
}

/* One client less is connecting; after the last one, native_crowd.py has its turn at once. */
static void one_less(struct loops *l)
{
    if (!--l->in_flight && l->next_client == l->clients) l->leave = 1;
}

/* A client could not connect, or had no first echo. */
static void failed(struct loops *l, struct client *c, int64_t *reasons, int reason)
{
    hang_up(c);
    c->on_the_way = 0;
    reasons[reason]++;
    if (l->churning) {
        c->state = PAUSING;
        c->sent_ns = clock_ns() + PAUSE_NS;
        l->pausing[(l->pausing_first + l->pausing_count++) % l->clients] = c - l->client;
        return;
    }
    c->state = ENDED;
    one_less(l);
}

static void connected(struct loops *l, struct client *c)
{
    l->connected++;
    l->address_first = c->address; /* this one answers: no other is tried from now on */
    l->address_end = c->address + 1;
    c->state = GREETING;
    put(l, c, 1);
}

/* Tries one address after the other. */
static void try_addresses(struct loops *l, struct client *c, int reason)
{
    for (; c->address < l->address_end; c->address++) {
        struct address *to = l->addresses + c->address;
        int one = 1, family = to->socket.ss_family;
        c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->fd < 0) {
            reason = errno;
            continue;
        }
        if (family != AF_UNIX) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        bool bound = true;
        if (l->source_count) {
            struct address *from = l->sources + l->source_next++ % l->source_count;
            setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
            bound = !bind(c->fd, (struct sockaddr *)&from->socket, from->bytes);
        }
        struct epoll_event event = { EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, { .ptr = c } };
        if (bound) {
            bool at_once = !connect(c->fd, (struct sockaddr *)&to->socket, to->bytes);
            if ((at_once || errno == EINPROGRESS) && !epoll_ctl(l->poller, EPOLL_CTL_ADD, c->fd, &event)) {
                if (at_once) connected(l, c);
                return;
            }
        }
        reason = errno;
        close(c->fd);
        c->fd = -1;
    }
    failed(l, c, l->failed_connecting, reason);
}

static void dial(struct loops *l, struct client *c)
{
    c->state = CONNECTING;
    c->address = l->address_first;
    c->number = c->on_the_way = c->got = c->written = c->backlog = 0;
    c->sent_ns = l->connecting_ns = clock_ns();
    try_addresses(l, c, 0);
}

/* Whether a connection that was begun is made. */
static bool made(struct loops *l, struct client *c, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP)) {
        int reason = 0;
        socklen_t bytes = sizeof reason;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &reason, &bytes);
        if (reason) {
            close(c->fd);
            c->fd = -1;
            c->address++;
            try_addresses(l, c, reason & (REASONS - 1));
            return false;
        }
    }
    connected(l, c);
    return true;
}

static bool sent_again(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t bytes = sizeof info;
    return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) && info.tcpi_total_retrans;
}

static void begin_connecting(struct loops *l)
{
    for (int i = 0; i < BURST && l->in_flight < l->at_once && l->next_client < l->clients; i++) {
        l->in_flight++;
        dial(l, l->client + l->next_client++);
    }
}

/* The end of a connection */

static void end(struct loops *l, struct client *c, int reason, int64_t now_ns)
{
    uint8_t state = c->state;
    if (state == GREETING) {
        failed(l, c, l->failed_greeting, reason);
        return;
    }
    bool left = state == LEAVING && reason == CLOSED;
    if (reason < MISDIRECTED && !left) l->errors[reason]++;
    l->there--;
    if (l->pacing) { /* the pacer counts what is on its way from its nodes, at the end */
        l->outstanding -= c->on_the_way;
        if (c->on_the_way && !l->outstanding) stretch(l, now_ns);
    } else if (l->depth > 1) {
        while (c->first) push(&l->unanswered, take_node(l, c).sent_ns);
    } else if (c->on_the_way) {
        push(&l->unanswered, c->sent_ns);
    }
    c->on_the_way = 0;
    c->state = ENDED;
    hang_up(c);
    if (c->again) {
        c->again = 0;
        l->again_in_flight--;
        greet_again(l);
    }
    if (l->churning) {
        if (state != LEAVING) return; /* its turn will come */
        c->id += GENERATION;
        dial(l, c);
        return;
    }
    if (!l->there) {
        stretch(l, now_ns); /* from here on no client waits */
        ring(l, now_ns, 0, 0);
    }
}

static void distrust(struct loops *l, struct client *c, const uint8_t *data, int64_t length, int64_t now_ns)
{
    int fault = ALTERED;
    int64_t size = l->bytes;
    if (!c->got && length >= size && !memcmp(data + 8, l->message + 8, size - 16)) {
        uint64_t id, said, after = c->id;
        memcpy(&id, data, 8);
        memcpy(&said, data + size - 8, 8);
        if (length >= size + 8) memcpy(&after, data + size, 8);
        if (id != c->id || after != c->id) fault = MISDIRECTED;
        else if (said < c->number || length > size) fault = DOUBLED;
    }
    l->faults[fault - MISDIRECTED]++;
    end(l, c, fault, now_ns);
}

/* What a client hears */

static void replaced(struct loops *l, struct client *c, int64_t now_ns)
{
    l->retried += l->within && sent_again(c->fd);
    l->queue[(l->queue_first + l->queue_count++) % l->clients] = c - l->client;
    heard(l, now_ns, 1);
    if (l->churning == 1) replace_next(l);
}

static void first_echo(struct loops *l, struct client *c, int64_t now_ns)
{
    c->state = THERE;
    l->there++;
    note(l->arrivals, now_ns - c->sent_ns);
    if (l->churning) {
        replaced(l, c, now_ns);
        return;
    }
    l->served[l->served_count++] = c - l->client;
    one_less(l);
}

static void whole(struct loops *l, struct client *c, int64_t now_ns)
{
    c->number++;
    c->on_the_way--;
    if (c->state == GREETING) {
        first_echo(l, c, now_ns);
    } else if (l->pacing) {
        struct node sent = take_node(l, c);
        bool noted = sent.intended_ns >= l->slice_ns;
        l->outstanding--;
        if (noted) {
            c->echoed_in_slice++;
            note(l->latency, now_ns - sent.intended_ns);
            note(l->from_send, now_ns - sent.sent_ns);
            note(l->least, l->before_ns > sent.sent_ns ? l->before_ns - sent.sent_ns : 0);
            note(l->read_lag, now_ns - l->looked_ns);
        } else {
            l->early_echoed++;
        }
        heard(l, now_ns, noted);
    } else {
        note(l->latency, now_ns - (l->depth > 1 ? take_node(l, c).sent_ns : c->sent_ns));
        heard(l, now_ns, 1);
        if (c->again) {
            c->again = 0;
            l->again_in_flight--;
            greet_again(l);
        }
    }
}

static void hear(struct loops *l, struct client *c, const uint8_t *data, int64_t length, int64_t now_ns)
{
    bool one_at_a_time = l->depth == 1 && !l->pacing;
    if (one_at_a_time && length > l->bytes - c->got) { /* more than was asked for */
        distrust(l, c, data, length, now_ns);
        return;
    }
    while (length) {
        int64_t part = l->bytes - c->got;
        if (part > length) part = length;
        stamp(l, c->id, c->number);
        if (!c->on_the_way || memcmp(data, l->message + c->got, part)) {
            distrust(l, c, data, length, now_ns);
            return;
        }
        data += part;
        length -= part;
        c->got += part;
        if (c->got == l->bytes) {
            c->got = 0;
            whole(l, c, now_ns);
        }
    }
    if (l->sending && !c->got && c->state == THERE && c->on_the_way < l->depth) say(l, c, now_ns);
}

static void receive(struct loops *l, struct client *c, bool to_the_end);
static void send_due(struct loops *l);

static void handle(struct loops *l, struct client *c, uint32_t events)
{
    if (c->state == CONNECTING && !made(l, c, events)) return;
    if ((events & EPOLLOUT) && c->backlog) flush(l, c);
    if (events & ~EPOLLOUT) receive(l, c, events & ~(EPOLLIN | EPOLLOUT));
}

static void receive(struct loops *l, struct client *c, bool to_the_end)
{
    int fd = c->fd;
    for (;;) {
        ssize_t got = recv(fd, l->in, IN_BYTES, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        int64_t now_ns = clock_ns();
        if (got <= 0) end(l, c, got ? errno & (REASONS - 1) : CLOSED, now_ns);
        else hear(l, c, l->in, got, now_ns);
        if (l->pacing && now_ns >= l->next_ns) send_due(l);
        if (got <= 0 || c->fd != fd || (got < IN_BYTES && !to_the_end)) return;
    }
}

/* The open loop */

static void advance(struct loops *l)
{
    if (l->due_at == l->due_count) l->more();
    if (l->due_at == l->due_count) {
        l->next_ns = NEVER;
        return;
    }
    l->next_ns = l->due_ns[l->due_at];
    l->next_who = l->due_who[l->due_at++];
}

static bool pace(struct loops *l, struct client *c, int64_t intended_ns, int64_t now_ns)
{
    if (c->state != THERE) return false;
    if (!put(l, c, 1)) { /* epoll will say why */
        c->on_the_way--;
        c->backlog--;
        return false;
    }
    put_node(l, c, intended_ns, now_ns);
    if (!l->outstanding++) l->heard_ns = now_ns; /* no client waited until now */
    return true;
}

static void send_due(struct loops *l)
{
    for (int i = 0; i < BURST; i++) {
        int64_t now_ns = clock_ns(), intended_ns = l->next_ns;
        if (now_ns < intended_ns) return;
        struct client *c = l->client + l->served[l->next_who];
        if (!pace(l, c, intended_ns, now_ns)) {
            if (intended_ns >= l->slice_ns) push(&l->unsent, intended_ns);
        } else if (intended_ns >= l->slice_ns) {
            c->sent_in_slice++;
            note(l->lag, now_ns - intended_ns);
        } else {
            l->early_sent++;
        }
        advance(l);
        if (l->outstanding + l->unsent.count > l->limit) {
            l->give_up();
            return;
        }
    }
}

/* Churn */

static void replace_next(struct loops *l)
{
    struct client *c = l->client + l->queue[l->queue_first % l->clients];
    l->queue_first++;
    l->queue_count--;
    if (c->state == THERE) {
        c->state = LEAVING;
        shutdown(c->fd, SHUT_WR);
    } else {
        c->id += GENERATION;
        dial(l, c);
    }
}

static void end_pauses(struct loops *l, int64_t now_ns)
{
    while (l->pausing_count) {
        struct client *c = l->client + l->pausing[l->pausing_first % l->clients];
        if (c->sent_ns > now_ns) return;
        l->pausing_first++;
        l->pausing_count--;
        c->id += GENERATION;
        dial(l, c);
    }
}

/* What native_crowd.py calls. Nothing here calls these: another library's function of the same name
 * would be called instead. */

bool prepare(struct loops *l)
{
    l->poller = epoll_create1(EPOLL_CLOEXEC);
    l->in = malloc(IN_BYTES);
    l->out = malloc(OUT_BYTES);
    return l->poller >= 0 && l->in && l->out;
}

/* Every client says what it may, for the first time in this load. */
void say_all(struct loops *l)
{
    for (int64_t i = 0; i < l->served_count; i++) {
        struct client *c = l->client + l->served[i];
        if (c->state == THERE) say(l, c, clock_ns());
    }
}

void begin_pacing(struct loops *l) { advance(l); }

void begin_greeting_again(struct loops *l) { greet_again(l); }

void begin_replacing(struct loops *l, int64_t at_a_time)
{
    for (int64_t i = 0; i < at_a_time; i++) replace_next(l);
}

/* Clients that have no first echo yet come too late: what arrives for them is ignored. */
void end_connecting(struct loops *l)
{
    int64_t now_ns = clock_ns();
    for (int64_t i = 0; i < l->clients; i++) {
        struct client *c = l->client + i;
        if (c->state != CONNECTING && c->state != GREETING) continue;
        note(l->arrivals, now_ns - c->sent_ns);
        if (c->state == CONNECTING) hang_up(c);
        else epoll_ctl(l->poller, EPOLL_CTL_DEL, c->fd, NULL);
        c->state = MUTED;
        c->on_the_way = c->backlog = 0;
    }
    l->next_client = l->clients;
    l->in_flight = 0;
}

int64_t count_sent_again(struct loops *l)
{
    int64_t found = 0;
    for (int64_t i = 0; i < l->served_count; i++) {
        struct client *c = l->client + l->served[i];
        found += c->state == THERE && sent_again(c->fd);
    }
    return found;
}

/* The times of all nodes that are left, as pairs (intended, sent); returns how many there are. */
int64_t copy_nodes(struct loops *l, int64_t *into)
{
    int64_t count = 0;
    for (int64_t i = 0; i < l->clients; i++)
        for (uint64_t at = l->client[i].first; at; at = l->nodes[at].next, count++)
            if (into) {
                into[2 * count] = l->nodes[at].intended_ns;
                into[2 * count + 1] = l->nodes[at].sent_ns;
            }
    return count;
}

/* Asks which sockets are ready, and waits until one is. full: the last look may have left some. */
static int look(struct loops *l, struct epoll_event *events, int wait_ms, bool full)
{
    bool waits = wait_ms && !l->pacing; /* only a pacer needs to know when an echo had not come */
    int ready = waits ? 0 : epoll_wait(l->poller, events, EVENTS, 0);
    bool slept = wait_ms && !ready;
    if (slept) ready = epoll_wait(l->poller, events, EVENTS, wait_ms);
    int64_t last_ns = full ? l->before_ns : l->looked_ns;
    l->looked_ns = clock_ns();
    l->before_ns = slept ? l->looked_ns : last_ns;
    return ready;
}

/* Serves the clients until that time, or until a callback has set `leave`. */
void turn(struct loops *l, int64_t until_ns)
{
    struct epoll_event events[EVENTS];
    int ready = 0;
    l->leave = 0;
    do {
        int64_t now_ns = clock_ns(), wake_ns = until_ns;
        int wait_ms = 0;
        begin_connecting(l);
        end_pauses(l, now_ns);
        if (l->pacing) {
            send_due(l);
            now_ns = clock_ns();
            if (now_ns >= l->alarm_ns) ring(l, now_ns, 0, 0);
            if (l->next_ns - now_ns > CHORE_NS && l->chores) {
                l->chore();
                now_ns = clock_ns();
            }
            int64_t far_ns = l->next_ns - now_ns > FAR_NS ? l->next_ns - MARGIN_NS : now_ns;
            if (far_ns < wake_ns) wake_ns = far_ns;
        } else {
            if (l->pausing_count) {
                int64_t again_ns = l->client[l->pausing[l->pausing_first % l->clients]].sent_ns;
                if (again_ns < wake_ns) wake_ns = again_ns;
            }
            wake_ns += MS - 1; /* rounded up, as there is nothing to do before */
        }
        bool more = l->in_flight < l->at_once && l->next_client < l->clients;
        if (wake_ns > now_ns && !more && !l->leave) wait_ms = (wake_ns - now_ns) / MS;
        ready = look(l, events, wait_ms, ready == EVENTS);
        for (int i = 0; i < ready; i++) handle(l, events[i].data.ptr, events[i].events);
    } while (!l->leave && clock_ns() < until_ns);
}
