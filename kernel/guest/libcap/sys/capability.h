/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of libcap as the clone3_cap_checkpoint_restore selftest uses. That program reaches into
 * what is behind a cap_t and expects the kernel's two structures there, which libcap 2.66 has no
 * more.
 */
#ifndef GUEST_SYS_CAPABILITY_H
#define GUEST_SYS_CAPABILITY_H

#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int cap_value_t;
typedef enum { CAP_EFFECTIVE, CAP_PERMITTED } cap_flag_t;
typedef enum { CAP_CLEAR, CAP_SET } cap_flag_value_t;
typedef struct {
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[2];
} * cap_t;

static inline int cap_clear(cap_t caps)
{
	memset(caps->data, 0, sizeof(caps->data));
	return 0;
}

static inline cap_t cap_get_proc(void)
{
	cap_t caps = calloc(1, sizeof(*caps));

	if (caps)
		caps->head.version = _LINUX_CAPABILITY_VERSION_3;
	return caps;
}

static inline int cap_set_flag(
	cap_t caps, cap_flag_t flag, int n, const cap_value_t *values, cap_flag_value_t value)
{
	for (int i = 0; i < n; i++) {
		struct __user_cap_data_struct *data = &caps->data[values[i] / 32];
		__u32 *word = flag == CAP_EFFECTIVE ? &data->effective : &data->permitted;
		__u32 bit = 1u << values[i] % 32;

		*word = value == CAP_SET ? *word | bit : *word & ~bit;
	}
	return 0;
}

static inline int cap_set_proc(cap_t caps)
{
	return (int)syscall(SYS_capset, &caps->head, caps->data);
}

static inline int cap_free(void *caps)
{
	free(caps);
	return 0;
}

#endif
