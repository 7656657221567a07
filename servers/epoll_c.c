/* The floor: what the kernel alone costs. One thread, one level-triggered epoll.
 *
 * The unit of concurrency is a file descriptor; control switches at epoll_wait.
 * What a client has not yet taken waits in that client's own buffer, and while
 * anything waits the client is not read: so a client that does not read is held
 * back by TCP itself, and its buffer never exceeds one read (64 KiB). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536, EVENTS = 1024 };

struct client { int fd; char *waiting; size_t length, sent; };

static int poller;
static int full; /* out of descriptors or memory: no accepting until a client leaves */
static char chunk[READ_BYTES];

static int watch(int how, int fd, unsigned events, void *owner)
{
    struct epoll_event event = { .events = events, .data.ptr = owner };
    return epoll_ctl(poller, how, fd, &event);
}

static void accepting(int on)
{
    full = !on;
    watch(EPOLL_CTL_MOD, STDIN_FILENO, on ? EPOLLIN : 0, NULL);
}

/* Each descriptor is reported once in a batch of events, so that what is freed here
 * cannot turn up again later in the same batch. */
static void goodbye(struct client *client)
{
    close(client->fd);
    free(client->waiting);
    free(client);
    if (full) accepting(1);
}

static void greet(void)
{
    int fd;
    while ((fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *client = calloc(1, sizeof *client);
        if (client) client->fd = fd;
        if (!client || watch(EPOLL_CTL_ADD, fd, EPOLLIN, client) < 0) {
            free(client); /* this client is turned away */
            close(fd);
        }
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        accepting(0);
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
    int on = 1;
    /* accept4 must not block when a waiting client has left again */
    if (ioctl(STDIN_FILENO, FIONBIO, &on) < 0
        || watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, NULL) < 0) {
        perror("standard input is no listening socket");
        return 1;
    }
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, full ? 100 : -1);
        if (ready == 0) accepting(1); /* the shortage may have been another's doing */
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) greet();
            else if (client->waiting) flush(client);
            else echo(client);
        }
    }
}
