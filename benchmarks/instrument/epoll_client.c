/* The yardstick for the client: the least a closed-loop client can cost in C.
 *
 *   epoll_client HOST PORT CLIENTS BYTES SECONDS
 *
 * Every connection keeps one message on its way, compares the echo byte for
 * byte and notes its latency, as clients/ does. Prints one JSON line. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 1024, BUCKETS = 1 << 16 };

struct client { int fd; size_t got; uint64_t id, number, sent_ns; };

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void fail(const char *what) { perror(what); exit(1); }

static size_t bytes;
static unsigned char *message, *echo;
static uint64_t latency_us[BUCKETS];

static void compose(const struct client *client)
{
    memcpy(message, &client->id, 8);
    memcpy(message + 8, &client->number, 8);
}

static void say(struct client *client)
{
    client->number++;
    client->got = 0;
    compose(client);
    client->sent_ns = nanoseconds(CLOCK_MONOTONIC);
    if (send(client->fd, message, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) fail("send");
}

int main(int argc, char **argv)
{
    if (argc != 6) { fprintf(stderr, "usage: epoll_client HOST PORT CLIENTS BYTES SECONDS\n"); return 2; }
    struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    int clients = atoi(argv[3]), one = 1;
    bytes = strtoul(argv[4], NULL, 10);
    double seconds = atof(argv[5]);
    if (bytes < 16) { fprintf(stderr, "epoll_client: BYTES is at least 16\n"); return 2; }
    message = malloc(bytes);
    echo = malloc(bytes);
    memset(message, 'x', bytes);

    int poller = epoll_create1(0);
    struct client *all = calloc(clients, sizeof *all);
    for (int i = 0; i < clients; i++) {
        struct client *client = all + i;
        client->id = i;
        client->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (client->fd < 0) fail("socket");
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(client->fd, (void *)&server, sizeof server) < 0) fail("connect");
        compose(client);
        if (send(client->fd, message, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) fail("send");
        if (recv(client->fd, echo, bytes, MSG_WAITALL) != (ssize_t)bytes) fail("first echo");
        ioctl(client->fd, FIONBIO, &one);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
        epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event);
    }

    uint64_t messages = 0, altered = 0;
    uint64_t cpu_ns = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t start_ns = nanoseconds(CLOCK_MONOTONIC), now = start_ns;
    uint64_t end_ns = start_ns + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < clients; i++) say(all + i);
    struct epoll_event events[EVENTS];
    while (now < end_ns) {
        int ready = epoll_wait(poller, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            ssize_t got = recv(client->fd, echo, bytes - client->got, 0);
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0) fail("recv");
            now = nanoseconds(CLOCK_MONOTONIC);
            compose(client);
            altered += memcmp(echo, message + client->got, got) != 0;
            client->got += got;
            if (client->got < bytes) continue;
            uint64_t us = (now - client->sent_ns) / 1000;
            latency_us[us < BUCKETS ? us : BUCKETS - 1]++;
            messages++;
            say(client);
        }
        if (!ready) now = nanoseconds(CLOCK_MONOTONIC);
    }
    cpu_ns = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
    uint64_t duration_ns = nanoseconds(CLOCK_MONOTONIC) - start_ns, below = 0, p50 = 0;
    while (p50 < BUCKETS && (below += latency_us[p50]) * 2 < messages) p50++;
    printf("{\"messages\": %lu, \"altered\": %lu, \"duration_ns\": %lu, \"cpu_ns\": %lu, \"latency_p50_us\": %lu}\n",
           messages, altered, duration_ns, cpu_ns, p50);
    return 0;
}
