// SPDX-License-Identifier: Apache-2.0
/* uml_init.c - the first process of the user-mode Linux guest that tests run in.
 *
 * Loads modules, puts a writable overlay over the host's file system, runs one program in it and
 * leaves that program's status where the host finds it.  A fork costs tens of milliseconds in the
 * guest, which is why this is a program and not a shell script.
 *
 * The host passes a directory by the kernel argument upcall_guest=DIR.  It holds
 *   modules    paths of modules in load order, one a line
 *   arguments  the program and its arguments, each ended by a NUL byte
 *   environment  NAME=VALUE, each ended by a NUL byte
 *   cwd        where the program starts
 *   shared/    the one directory that the guest can write to; `status` and `dmesg` go there
 *
 * Threads: one. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define ROOT "/mnt/root"

static char control[4096];
static char shared[4300];

static void power_off(void)
{
    sync();
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list ap;

    FILE *console = fopen("/dev/tty2", "w");
    if (!console)
        return;
    fputs("uml_init: ", console);
    va_start(ap, format);
    vfprintf(console, format, ap);
    va_end(ap);
    fprintf(console, ": %s\n", strerror(errno));
    fclose(console);
}

static void need(int ok, const char *what)
{
    if (!ok) {
        say("%s", what);
        power_off();
    }
}

/* The whole of a file, with a NUL behind it; an empty string when it cannot be read. */
static char *slurp(const char *path, size_t *size)
{
    size_t used = 0, room = 1 << 16;
    char *text = malloc(room);

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t got; fd >= 0 && (got = read(fd, text + used, room - used - 1)) > 0;) {
        used += (size_t) got;
        if (room - used < 4096)
            text = realloc(text, room *= 2);
    }
    if (fd >= 0)
        close(fd);
    text[used] = '\0';
    if (size)
        *size = used;
    return text;
}

static char *control_file(const char *name, size_t *size)
{
    char path[4200];

    snprintf(path, sizeof path, "%s/%s", control, name);
    return slurp(path, size);
}

static void write_file(const char *path, const char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t) size)
        say("%s", path);
    if (fd >= 0)
        close(fd);
}

/* Splits NUL-ended strings into a NULL-ended vector. */
static char **vector(char *bytes, size_t size)
{
    size_t count = 0, at = 0;

    for (size_t i = 0; i < size; i++)
        count += bytes[i] == '\0';
    char **words = calloc(count + 1, sizeof *words);
    for (size_t i = 0; i < count; i++) {
        words[i] = bytes + at;
        at += strlen(bytes + at) + 1;
    }
    return words;
}

static void load_modules(void)
{
    char *save = NULL;

    for (char *path = strtok_r(control_file("modules", NULL), "\n", &save); path;
         path = strtok_r(NULL, "\n", &save)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
            say("module %s", path);
        if (fd >= 0)
            close(fd);
    }
}

static void mount_root(void)
{
    need(!mount("tmpfs", "/mnt", "tmpfs", 0, "mode=755"), "tmpfs on /mnt");
    mkdir("/mnt/upper", 0755);
    mkdir("/mnt/work", 0755);
    mkdir(ROOT, 0755);
    need(!mount("overlay", ROOT, "overlay", 0, "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work"),
         "overlay");
    need(!mount("/proc", ROOT "/proc", NULL, MS_BIND, NULL), "bind /proc");
    need(!mount("sys", ROOT "/sys", "sysfs", 0, NULL), "sysfs");
    mount("dev", ROOT "/dev", "devtmpfs", 0, NULL);
    mkdir(ROOT "/dev/pts", 0755);
    mkdir(ROOT "/dev/shm", 0755);
    mkdir(ROOT "/dev/net", 0755);
    mount("devpts", ROOT "/dev/pts", "devpts", 0, NULL);
    mount("tmpfs", ROOT "/dev/shm", "tmpfs", 0, "mode=1777");
    mknod(ROOT "/dev/net/tun", S_IFCHR | 0666, makedev(10, 200));
    symlink("/proc/self/fd", ROOT "/dev/fd");
    need(!mount("tmpfs", ROOT "/run", "tmpfs", 0, "mode=755"), "tmpfs on /run");
    mkdir(ROOT "/run/netns", 0755);
    mkdir(ROOT "/run/lock", 0755);
}

static void set_loopback_up(void)
{
    struct ifreq request = { .ifr_name = "lo" };

    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        say("lo");
    if (fd >= 0)
        close(fd);
    /* Duplicate address detection would hold every IPv6 address back for a second. */
    write_file("/proc/sys/net/ipv6/conf/all/accept_dad", "0", 1);
    write_file("/proc/sys/net/ipv6/conf/default/accept_dad", "0", 1);
}

/* A console that carries bytes as they are: no CR before LF. */
static void open_console(const char *path, int fd)
{
    struct termios mode;

    int console = open(path, O_WRONLY | O_NOCTTY);
    need(console >= 0, path);
    if (!tcgetattr(console, &mode)) {
        mode.c_oflag &= ~(tcflag_t) OPOST;
        tcsetattr(console, TCSANOW, &mode);
    }
    dup2(console, fd);
    if (console != fd)
        close(console);
}

static void run_program(void)
{
    size_t size;
    char *bytes = control_file("arguments", &size);
    char **arguments = vector(bytes, size);
    bytes = control_file("environment", &size);
    char **variables = vector(bytes, size);
    char *cwd = control_file("cwd", NULL);

    need(!chroot(ROOT), "chroot");
    setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    open_console("/dev/tty1", 1);
    open_console("/dev/tty2", 2);
    if (chdir(cwd))
        say("%s", cwd);
    clearenv();
    for (; *variables; variables++)
        putenv(*variables);
    execvp(arguments[0], arguments);
    say("%s", arguments[0]);
    _exit(126);
}

static int wait_for(pid_t child)
{
    int status;

    for (;;) {
        pid_t done = wait(&status);
        if (done < 0 && errno != EINTR)
            return 125;
        if (done == child)
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
}

static void save_kernel_log(void)
{
    static char log[1 << 18];
    char path[sizeof shared + 16];

    int size = klogctl(3, log, sizeof log);
    snprintf(path, sizeof path, "%s/dmesg", shared);
    if (size > 0)
        write_file(path, log, (size_t) size);
}

int main(void)
{
    char path[sizeof shared], text[16];

    mount("proc", "/proc", "proc", 0, NULL);
    char *argument = strstr(slurp("/proc/cmdline", NULL), "upcall_guest=");
    need(argument && sscanf(argument, "upcall_guest=%4095s", control) == 1, "no upcall_guest=");
    snprintf(shared, sizeof shared - sizeof ROOT, "%s/shared", control);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    load_modules();
    mount_root();
    /* The same path inside and outside, so that both sides can name files to each other. */
    snprintf(path, sizeof path, ROOT "%s", shared);
    need(!mount("none", path, "hostfs", 0, shared), "hostfs");
    set_loopback_up();
    memcpy(shared, path, sizeof shared);

    pid_t child = fork();
    if (!child)
        run_program();
    int length = snprintf(text, sizeof text, "%d\n", wait_for(child));
    save_kernel_log();
    for (int i = 1; i <= 2; i++) { /* what the program printed last must get out first */
        snprintf(path, sizeof path, "/dev/tty%d", i);
        int console = open(path, O_WRONLY | O_NOCTTY);
        if (console >= 0)
            tcdrain(console);
    }
    char *status = control;
    snprintf(status, sizeof control, "%.4000s/status", shared);
    write_file(status, text, (size_t) length);
    power_off();
}
