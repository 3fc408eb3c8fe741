/* SPDX-License-Identifier: MIT */
/* What /proc says of real tasks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "real-proc.h"

#define PATIENCE 60

struct status {
	char state;
	int tgid, ppid;
	int n_pid, n_group, n_session;
	int pid[M_LEVELS], group[M_LEVELS], session[M_LEVELS];
};

static int numbers(const char *text, const char *key, int *list)
{
	const char *at = strstr(text, key);
	int n = 0;

	if (!at)
		return 0;
	for (at += strlen(key); n < M_LEVELS;) {
		char *end;
		long value = strtol(at, &end, 10);

		if (end == at || memchr(at, '\n', (size_t)(end - at)))
			break;
		list[n++] = (int)value;
		at = end;
	}
	return n;
}

static int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return -errno;
	text[n] = 0;
	return 0;
}

static int read_status(int leader, int pid, struct status *s)
{
	char path[64], text[4096];
	const char *at;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", leader, pid);
	r = read_text(path, text, sizeof(text));
	if (r < 0)
		return r;
	at = strstr(text, "\nState:\t");
	s->state = at ? at[8] : 0;
	numbers(text, "\nTgid:", &s->tgid);
	numbers(text, "\nPPid:", &s->ppid);
	s->n_pid = numbers(text, "\nNSpid:", s->pid);
	s->n_group = numbers(text, "\nNSpgid:", s->group);
	s->n_session = numbers(text, "\nNSsid:", s->session);
	return 0;
}

static bool is_known(const struct real *real, int n_tasks, int pid)
{
	for (int i = 0; i < n_tasks; i++)
		if (real->pids[i] == pid)
			return true;
	return false;
}

int real_find_new(struct real *real, const struct model *m, int task)
{
	int leader = m->tasks[task].leader, found = 0;
	char path[64] = "/proc";
	struct status s;
	struct dirent *e;
	DIR *dir;

	if (leader != task)
		snprintf(path, sizeof(path), "/proc/%d/task", real->pids[leader]);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((e = readdir(dir)) != NULL) {
		int pid = atoi(e->d_name);

		if (pid > 0 && !is_known(real, task, pid))
			found = pid;
	}
	closedir(dir);
	if (!found)
		return -ESRCH;
	real->pids[task] = found;
	real->states[task] = M_RUN;
	if (read_status(leader == task ? found : real->pids[leader], found, &s) < 0)
		return -ESRCH;
	memcpy(real->numbers[task], s.pid, sizeof(s.pid));
	return 0;
}

static bool has_settled(struct real *real, const struct model *m, int task)
{
	int leader = m->tasks[task].leader, r;
	struct status s;

	/* Of an init that ends and is held up one thread waits: whichever was the last. */
	if (leader != task && m->tasks[leader].state == M_ZOMBIE && model_is_held_up(m, leader))
		return true;
	r = read_status(real->pids[leader], real->pids[task], &s);
	if (m->tasks[task].state == M_GONE)
		return r < 0;
	if (r < 0)
		return false;
	return s.state == 'Z' || model_is_held_up(m, task);
}

int real_settle(struct real *real, const struct model *m, char *why, size_t size)
{
	for (int i = 1; i < m->n_tasks; i++) {
		int tries = PATIENCE * 1000;

		if (real->states[i] == m->tasks[i].state || m->tasks[i].state == M_RUN)
			continue;
		while (!has_settled(real, m, i) && tries--)
			usleep(1000);
		if (tries < 0) {
			snprintf(why, size, "task %d does not become %s", i,
				m->tasks[i].state == M_GONE ? "reaped" : "a zombie");
			return -1;
		}
		real->states[i] = m->tasks[i].state;
	}
	return 0;
}

/* A session or group as it should look from inside of the task: numbers where it is seen, else 0.
 */
static bool same_identity(
	const struct real *real, const struct model *m, int task, int pid, const int *seen, int n)
{
	int level = m->nss[m->tasks[task].ns].level;

	if (n != level + 1)
		return false;
	for (int i = 0; i <= level; i++) {
		int ns = model_ns_at(m, m->tasks[task].ns, i);
		int want = !model_sees(m, ns, pid) ? 0 : pid ? real->numbers[pid][i] : 1;

		if (seen[i] != want)
			return false;
	}
	return true;
}

/* Follows the link to a namespace: its inode, 0 where there is none. */
static unsigned long ns_inode(int leader, int pid, const char *which)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/%s", leader, pid, which);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

static bool same_ns(struct real *real, const struct model *m, int ns, unsigned long inode)
{
	if (m->nss[ns].init < 0)
		return inode == 0;
	if (!real->nss[ns]) {
		for (int i = 0; i < m->n_nss; i++)
			if (real->nss[i] == inode)
				return false;
		real->nss[ns] = inode;
	}
	return inode && real->nss[ns] == inode;
}

static bool is_listed(const struct real *real, const struct model *m, int task)
{
	int parent = m->tasks[task].parent, leader = m->tasks[parent].leader;
	char path[64], text[8192], *at = text, *end;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", real->pids[leader],
		real->pids[parent]);
	if (read_text(path, text, sizeof(text)) < 0)
		return false;
	for (long pid; pid = strtol(at, &end, 10), end != at; at = end)
		if (pid == real->pids[task])
			return true;
	return false;
}

/* Field 38, the exit signal, and the last one, the status. */
static bool same_stat(const struct real *real, const struct model *m, int task)
{
	char path[64], text[1024], *at, *last;
	int field = 2, signal = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", real->pids[task]);
	if (read_text(path, text, sizeof(text)) < 0)
		return false;
	at = strrchr(text, ')');
	last = strrchr(text, ' ');
	if (!at || !last)
		return false;
	while (field < 38 && (at = strchr(at + 1, ' ')) != NULL)
		field++;
	if (at)
		signal = atoi(at);
	if (signal != m->tasks[task].exit_signal) {
		printf("  exit signal %d instead of %d\n", signal, m->tasks[task].exit_signal);
		return false;
	}
	if (m->tasks[task].state != M_ZOMBIE || model_is_held_up(m, task) ||
		atoi(last) == m->tasks[task].status)
		return true;
	printf("  status %d instead of %d\n", atoi(last), m->tasks[task].status);
	return false;
}

static const char *compare_task(struct real *real, const struct model *m, int task)
{
	const struct m_task *t = &m->tasks[task], *l = &m->tasks[t->leader];
	int pid = real->pids[task], leader = real->pids[t->leader];
	struct status s;

	if (read_status(leader, pid, &s) < 0)
		return "is not there";
	if ((s.state == 'Z') != (t->state == M_ZOMBIE) && !model_is_held_up(m, task))
		return "state";
	if (s.tgid != leader)
		return "leader";
	if (!same_ns(real, m, t->ns, ns_inode(leader, pid, "pid")))
		return "namespace";
	if (s.n_pid != m->nss[t->ns].level + 1)
		return "levels";
	if ((m->nss[t->ns].init == task) != (t->ns && s.pid[s.n_pid - 1] == 1))
		return "init";
	if (s.ppid != real->pids[m->tasks[l->parent].leader])
		return "parent";
	if (!same_identity(real, m, task, l->session, s.session, s.n_session))
		return "session";
	if (!same_identity(real, m, task, l->group, s.group, s.n_group))
		return "group";
	if (t->state == M_RUN &&
		!same_ns(real, m, t->children_ns, ns_inode(leader, pid, "pid_for_children")))
		return "children's namespace";
	if (t->leader != task)
		return NULL;
	if (!is_listed(real, m, task))
		return "parent thread";
	return same_stat(real, m, task) ? NULL : "exit signal or status";
}

int real_compare(struct real *real, const struct model *m, char *why, size_t size)
{
	int expected = 1, seen = 0;
	struct dirent *e;
	DIR *dir;

	memset(real->nss, 0, sizeof(real->nss));
	for (int i = 1; i < m->n_tasks; i++) {
		const char *what;

		if (m->tasks[i].state == M_GONE)
			continue;
		expected += m->tasks[i].leader == i;
		what = compare_task(real, m, i);
		if (what) {
			snprintf(why, size, "task %d (pid %d): another %s", i, real->pids[i], what);
			return -1;
		}
	}
	dir = opendir("/proc");
	while (dir && (e = readdir(dir)) != NULL)
		seen += atoi(e->d_name) > 0;
	if (dir)
		closedir(dir);
	if (seen != expected) {
		snprintf(why, size, "%d processes instead of %d", seen, expected);
		return -1;
	}
	return 0;
}

void setns_home(void)
{
	int fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		setns(fd, CLONE_NEWPID);
		close(fd);
	}
}
