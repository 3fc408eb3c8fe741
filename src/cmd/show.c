// SPDX-License-Identifier: MIT
/* reprise show: an image as a person wants to see it. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "cmd/cmd.h"
#include "cmd/words.h"
#include "image/image.h"

#define COMMAND_SIZE 256

struct view {
	const struct image *image;
	const Snapshot *snapshot;
	bool verbose;
	int pids_width;
};

static void image_cleanup(struct image **image)
{
	image_free(*image);
}

/* Bytes of the pages that are in the image: all of them, or none. */
static uint64_t pages_bytes(const Pages *pages)
{
	uint64_t count = 0;

	for (size_t i = 0; pages && i < pages->n_count; i++)
		count += pages->count[i];
	return count * 4096;
}

static uint64_t memory_bytes(const Memory *memory)
{
	uint64_t bytes = 0;

	for (size_t i = 0; memory && i < memory->n_areas; i++)
		bytes += pages_bytes(memory->areas[i]->pages);
	return bytes;
}

static void pids_text(const Thread *thread, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < thread->n_pids && used < size; i++)
		used += (size_t)snprintf(
			text + used, size - used, "%s%d", i ? " " : "", thread->pids[i]);
}

static void state_text(const Process *process, char *text, size_t size)
{
	int status = process->exit_status;

	switch (process->state) {
	case REPRISE__PROCESS__STATE__STOPPED:
		snprintf(text, size, "stopped");
		break;
	case REPRISE__PROCESS__STATE__ZOMBIE:
		if (WIFSIGNALED(status))
			snprintf(text, size, "zombie (SIG%s)",
				sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status))
							       : "?");
		else
			snprintf(text, size, "zombie (%d)", WEXITSTATUS(status));
		break;
	default:
		snprintf(text, size, "running");
	}
}

/* A byte of the process's memory as far as the image has it: -1 where it is in a file. */
static bool read_memory(
	const struct view *view, const Memory *memory, uint64_t address, char *to, size_t size)
{
	for (size_t i = 0; i < memory->n_areas; i++) {
		const Area *area = memory->areas[i];
		uint64_t offset = area->pages ? area->pages->offset : 0;

		if (address < area->start || address >= area->end || !area->pages)
			continue;
		for (size_t j = 0; j < area->pages->n_first; j++) {
			uint64_t start = area->pages->first[j] * 4096;
			uint64_t length = area->pages->count[j] * 4096;

			if (address >= start && address - start < length) {
				uint64_t left = length - (address - start);
				size_t want = left < size ? (size_t)left : size;

				return pread(view->image->pages_fd, to, want,
					       (off_t)(offset + (address - start))) ==
				       (ssize_t)want;
			}
			offset += length;
		}
	}
	return false;
}

/* The command line that is in the memory, or else the name that /proc shows, in brackets. */
static void command_text(const struct view *view, const Process *process, char *text, size_t size)
{
	const Memory *memory = process->memory;
	uint64_t length = 0;

	memset(text, 0, size);
	if (memory && memory->arg_end > memory->arg_start)
		length = memory->arg_end - memory->arg_start;
	if (length > size - 1)
		length = size - 1;
	if (length > 0 && read_memory(view, memory, memory->arg_start, text, (size_t)length)) {
		while (length > 0 && text[length - 1] == '\0')
			length--;
		for (size_t i = 0; i < length; i++)
			if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
				text[i] = ' ';
		if (length > 0)
			return;
	}
	memset(text, 0, size);
	snprintf(text, size, "[%s]", process->threads[0]->name);
}

static void print_threads(const struct view *view, const Process *process)
{
	char pids[400];

	for (size_t i = 1; i < process->n_threads; i++) {
		pids_text(process->threads[i], pids, sizeof(pids));
		printf("%-*s  thread %s\n", view->pids_width, pids, process->threads[i]->name);
	}
}

static const char *file_path(const Snapshot *snapshot, const OpenFile *file)
{
	if (file->file >= 0 && (size_t)file->file < snapshot->n_files)
		return snapshot->files[file->file]->path;
	return "";
}

static void print_descriptors(const struct view *view, const Process *process)
{
	const Snapshot *snapshot = view->snapshot;

	for (size_t i = 0; i < process->n_descriptors; i++) {
		const Descriptor *descriptor = process->descriptors[i];
		const OpenFile *file = snapshot->open_files[descriptor->open_file];

		printf("%-*s  descriptor %d: %s", view->pids_width, "", descriptor->number,
			open_file_word(file->kind));
		switch (file->kind) {
		case REPRISE__OPEN_FILE__KIND__PIPE:
			printf(" %d", file->pipe);
			break;
		case REPRISE__OPEN_FILE__KIND__EVENTFD:
			printf(", count %" PRIu64, file->count);
			break;
		case REPRISE__OPEN_FILE__KIND__MEMFD:
			printf(" %s", snapshot->shared_memory[file->shared_memory]->name);
			break;
		case REPRISE__OPEN_FILE__KIND__REGULAR:
			printf(" %s at %" PRIu64, file_path(snapshot, file), file->offset);
			break;
		default:
			printf(" %s", file_path(snapshot, file));
		}
		putchar('\n');
	}
}

static void print_process(const struct view *view, size_t index, const char *branch)
{
	const Process *process = view->snapshot->processes[index];
	char pids[400], state[40], memory[40], command[COMMAND_SIZE];

	pids_text(process->threads[0], pids, sizeof(pids));
	state_text(process, state, sizeof(state));
	command_text(view, process, command, sizeof(command));
	if (process->state == REPRISE__PROCESS__STATE__ZOMBIE) {
		printf("%-*s  %-13s %7s %9s %4s  %s%s\n", view->pids_width, pids, state, "-", "-",
			"-", branch, command);
		return;
	}
	size_word(memory_bytes(process->memory), memory, sizeof(memory));
	printf("%-*s  %-13s %7zu %9s %4zu  %s%s\n", view->pids_width, pids, state,
		process->n_threads, memory, process->n_descriptors, branch, command);
	if (view->verbose) {
		print_threads(view, process);
		print_descriptors(view, process);
	}
}

/* Where the walk is: the next process to look at among those below one parent. */
struct level {
	int32_t parent;
	size_t next;
};

static size_t next_child(const Snapshot *snapshot, int32_t parent, size_t from)
{
	while (from < snapshot->n_processes && snapshot->processes[from]->parent != parent)
		from++;
	return from;
}

/* "│  ├─ " for a process that hangs below depth others; levels say which of them have more. */
static void branch_text(
	const struct view *view, const struct level *levels, size_t depth, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	/* Level 0 holds the roots, which hang nowhere. */
	for (size_t i = 1; i <= depth && used + 16 < size; i++) {
		bool more = next_child(view->snapshot, levels[i].parent, levels[i].next) <
			    view->snapshot->n_processes;
		const char *part = i == depth ? (more ? "├─ " : "└─ ") : (more ? "│  " : "   ");

		used += (size_t)snprintf(text + used, size - used, "%s", part);
	}
}

/* From the roots down, children below their parents. A stack of its own: trees can be as deep as
 * there are processes. */
static int print_tree(const struct view *view)
{
	const Snapshot *snapshot = view->snapshot;
	_cleanup_free_ struct level *levels = calloc(snapshot->n_processes + 1, sizeof(*levels));
	char branch[1024];
	size_t depth = 0;

	if (!levels)
		return -1;
	levels[0] = (struct level){.parent = -1, .next = 0};
	for (;;) {
		size_t index = next_child(snapshot, levels[depth].parent, levels[depth].next);

		if (index == snapshot->n_processes) {
			if (depth == 0)
				return 0;
			depth--;
			continue;
		}
		levels[depth].next = index + 1;
		branch_text(view, levels, depth, branch, sizeof(branch));
		print_process(view, index, branch);
		/* A child comes after its parent in the list. */
		levels[++depth] = (struct level){.parent = (int32_t)index, .next = index + 1};
	}
}

static void print_head(const struct view *view, const char *dir)
{
	const Snapshot *snapshot = view->snapshot;
	size_t threads = 0;
	char taken[64] = "?", pages[40];
	time_t when = (time_t)(snapshot->realtime / 1000000000u);
	struct tm tm;

	for (size_t i = 0; i < snapshot->n_processes; i++)
		threads += snapshot->processes[i]->n_threads;
	if (gmtime_r(&when, &tm))
		strftime(taken, sizeof(taken), "%Y-%m-%d %H:%M:%S UTC", &tm);
	size_word(view->image->pages_size, pages, sizeof(pages));
	printf("%s: taken %s on Linux %s %s\n", dir, taken, snapshot->kernel, snapshot->machine);
	printf("%zu process%s, %zu thread%s, %zu pid namespace%s of its own, %zu open file%s, %s "
	       "of "
	       "pages\n\n",
		snapshot->n_processes, snapshot->n_processes == 1 ? "" : "es", threads,
		threads == 1 ? "" : "s", snapshot->n_pid_namespaces - 1,
		snapshot->n_pid_namespaces == 2 ? "" : "s", snapshot->n_open_files,
		snapshot->n_open_files == 1 ? "" : "s", pages);
}

static int show(const struct image *image, const char *dir, bool verbose)
{
	struct view view = {.image = image, .snapshot = image->snapshot, .verbose = verbose};

	view.pids_width = (int)strlen("PIDS");
	for (size_t i = 0; i < view.snapshot->n_processes; i++) {
		const Process *process = view.snapshot->processes[i];

		for (size_t j = 0; j < (verbose ? process->n_threads : 1); j++) {
			char pids[400];

			pids_text(process->threads[j], pids, sizeof(pids));
			if ((int)strlen(pids) > view.pids_width)
				view.pids_width = (int)strlen(pids);
		}
	}
	print_head(&view, dir);
	printf("%-*s  %-13s %7s %9s %4s  COMMAND\n", view.pids_width, "PIDS", "STATE", "THREADS",
		"MEMORY", "FDS");
	if (print_tree(&view) < 0)
		return -1;
	return fflush(stdout) == 0 ? 0 : -1;
}

#define USAGE "reprise show [--json] [-v] DIR"

static void print_help(void)
{
	puts("usage: " USAGE "\n\n"
	     "Prints the tree of tasks that the image DIR holds: the pids of each task, outermost\n"
	     "namespace first, its state, threads, memory in the image, descriptors and "
	     "command.\n\n"
	     "  --json          all metadata of the image\n"
	     "  -v, --verbose   every thread and every descriptor too\n"
	     "  --help          this text");
}

int cmd_show(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'}, {0}};
	__attribute__((cleanup(image_cleanup))) struct image *image = NULL;
	struct reprise_error err = {0};
	bool json = false, verbose = false;
	int option;

	while ((option = getopt_long(argc, argv, "v", options, NULL)) != -1) {
		if (option == 'j')
			json = true;
		else if (option == 'v')
			verbose = true;
		else if (option == 'h')
			return print_help(), 0;
		else
			return EXIT_USAGE;
	}
	if (optind != argc - 1)
		return tell_usage(USAGE, "one image is wanted");
	if (image_read(argv[optind], false, &image, &err) < 0) {
		error_phase(&err, "image");
		return tell_error(&err);
	}
	if ((json ? snapshot_json(image->snapshot, stdout) : show(image, argv[optind], verbose)) <
		0) {
		fprintf(stderr, "reprise: show: cannot write: %m\n");
		return 1;
	}
	return 0;
}
