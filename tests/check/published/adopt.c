/* Hands a published server, unchanged, the listening socket on its standard input.
 *
 * Preloaded, it stands in for bind(2): the socket that was to be bound becomes the one that is
 * bound already. What the server does before and after, also listen(), stays its own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    (void)address, (void)length;
    int status = fcntl(fd, F_GETFL), descriptor = fcntl(fd, F_GETFD); /* non-blocking, cloexec */
    if (dup2(STDIN_FILENO, fd) < 0 || fcntl(fd, F_SETFD, descriptor) < 0) return -1;
    return fcntl(fd, F_SETFL, status);
}
