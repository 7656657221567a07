/* The floor: what the kernel alone costs. One thread, one level-triggered epoll.
 *
 * The unit of concurrency is a file descriptor; control switches at epoll_wait.
 * What a client has not yet taken waits in that client's own buffer, and while
 * anything waits the client is not read: so a client that does not read is held
 * back by TCP itself, and its buffer never exceeds one read (64 KiB). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536, EVENTS = 1024 };

struct client { int fd; char *waiting; size_t length, sent; };

static int poller;
static char chunk[READ_BYTES];

static void watch(int how, int fd, unsigned events, void *owner)
{
    struct epoll_event event = { .events = events, .data.ptr = owner };
    epoll_ctl(poller, how, fd, &event);
}

static void goodbye(struct client *client)
{
    close(client->fd);
    free(client->waiting);
    free(client);
}

static void greet(void)
{
    int fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            usleep(10000); /* out of descriptors: let someone leave */
        return;
    }
    struct client *client = calloc(1, sizeof *client);
    if (!client) { close(fd); return; }
    client->fd = fd;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN, client);
}

/* Reads once and writes it back; what the kernel does not take is kept for flush(). */
static void echo(struct client *client)
{
    ssize_t got = recv(client->fd, chunk, sizeof chunk, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) { goodbye(client); return; }
    ssize_t put = send(client->fd, chunk, got, MSG_NOSIGNAL);
    if (put == got) return;
    if (put < 0 && errno != EAGAIN && errno != EINTR) { goodbye(client); return; }
    if (put < 0) put = 0;
    client->length = got - put;
    client->sent = 0;
    client->waiting = malloc(client->length);
    if (!client->waiting) { goodbye(client); return; }
    memcpy(client->waiting, chunk + put, client->length);
    watch(EPOLL_CTL_MOD, client->fd, EPOLLOUT, client);
}

static void flush(struct client *client)
{
    ssize_t put = send(client->fd, client->waiting + client->sent,
                       client->length - client->sent, MSG_NOSIGNAL);
    if (put < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (put < 0) { goodbye(client); return; }
    client->sent += put;
    if (client->sent < client->length) return;
    free(client->waiting);
    client->waiting = NULL;
    watch(EPOLL_CTL_MOD, client->fd, EPOLLIN, client);
}

int main(void)
{
    struct epoll_event events[EVENTS];
    poller = epoll_create1(EPOLL_CLOEXEC);
    int flags = 1;
    /* accept4 must not block when a waiting client has left again */
    if (ioctl(STDIN_FILENO, FIONBIO, &flags) < 0) return 1;
    watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, NULL);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) greet();
            else if (client->waiting) flush(client);
            else echo(client);
        }
    }
}
