#include "sys/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/num.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

bool sandbox_is_strict(void)
{
    return !SANITIZED;
}

static enum err os_error(struct errmsg *e, const char *what, int errnum)
{
    char text[64];
    return err_set(e, ERR_IO, "%s: %s", what, strerror_r(errnum, text, sizeof(text)));
}

static enum err limit(int what, uint64_t value, struct errmsg *e)
{
    struct rlimit r = {.rlim_cur = value, .rlim_max = value};
    return setrlimit((__rlimit_resource_t)what, &r) == 0 ? ERR_OK : os_error(e, "setrlimit", errno);
}

static enum err limits(const struct sandbox_conf *c, struct errmsg *e)
{
    enum err rc = limit(RLIMIT_CORE, 0, e);
    if (rc == ERR_OK && !SANITIZED) {
        rc = limit(RLIMIT_AS, c->memory, e);
        rc = rc == ERR_OK ? limit(RLIMIT_NOFILE, 0, e) : rc; // open ones stay usable
        rc = rc == ERR_OK ? limit(RLIMIT_FSIZE, 0, e) : rc;
    }
    return rc;
}

/* What decoders and the C library need between two frames.  Descriptors may be used as they are:
 * none can be opened or received.  alarm: the process ends itself when its client is gone. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(alarm),
    SCMP_SYS(setitimer),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(sched_yield),
    SCMP_SYS(getrandom),
    SCMP_SYS(fstat),
};

static int add_strict(scmp_filter_ctx f)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
    }
    const int maps[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)}; // memory, never of code
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, maps[i], 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    if (rc == 0) { // abort(): signals to itself alone
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    }
    return rc;
}

static const int forbidden[] = {
    SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(execve), SCMP_SYS(execveat),
    SCMP_SYS(unlink), SCMP_SYS(rename),  SCMP_SYS(ptrace), SCMP_SYS(process_vm_writev),
};

static int add_loose(scmp_filter_ctx f)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        rc = seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, forbidden[i], 0);
    }
    return rc;
}

static enum err filter(struct errmsg *e)
{
    scmp_filter_ctx f = seccomp_init(SANITIZED ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
    if (f == NULL) {
        return err_set(e, ERR_NOMEM, "seccomp_init");
    }
    int rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 1);
    rc = rc == 0 ? (SANITIZED ? add_loose(f) : add_strict(f)) : rc;
    rc = rc == 0 ? seccomp_load(f) : rc;
    seccomp_release(f);
    return rc == 0 ? ERR_OK : os_error(e, "seccomp", -rc);
}

enum err sandbox_enter(const struct sandbox_conf *c, struct errmsg *e)
{
    if (close_range((unsigned)c->keep, ~0U, 0) != 0) {
        return os_error(e, "close_range", errno);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_DUMPABLE, SANITIZED ? 1 : 0, 0, 0, 0) != 0) {
        return os_error(e, "prctl", errno);
    }
    enum err rc = limits(c, e);
    return rc == ERR_OK ? filter(e) : rc;
}
