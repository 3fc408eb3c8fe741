// SPDX-License-Identifier: MIT
/* User, uts and mount namespaces. */
#include <string.h>
#include <sys/stat.h>

#include "image/id_map.h"
#include "image/validate.h"

#define MAX_GROUPS 65536
#define MAX_UTS_NAME 64
#define MAX_SIZE (1ull << 60)

static int check_user_namespaces(const struct rules *rules)
{
	const Snapshot *snapshot = rules->snapshot;

	for (size_t i = 0; i < snapshot->n_user_namespaces; i++) {
		const UserNamespace *ns = snapshot->user_namespaces[i];
		struct id_map map;

		REQUIRE(rules, is_index_or_none(ns->parent, i),
			"user namespace %zu: its parent does not come before it", i);
		REQUIRE(rules, id_map_parse(ns->uid_map, &map) == 0 && map.count,
			"user namespace %zu: its users", i);
		REQUIRE(rules, id_map_parse(ns->gid_map, &map) == 0 && map.count,
			"user namespace %zu: its groups", i);
		REQUIRE(rules, ns->n_groups <= MAX_GROUPS, "user namespace %zu: %zu groups", i,
			ns->n_groups);
	}
	REQUIRE(rules, snapshot->n_ipc_owners <= snapshot->ipc_namespaces,
		"more owners than ipc namespaces");
	for (size_t i = 0; i < snapshot->n_ipc_owners; i++)
		REQUIRE(rules, snapshot->ipc_owners[i] <= snapshot->n_user_namespaces,
			"ipc namespace %zu: owner %u", i, snapshot->ipc_owners[i]);
	return 0;
}

static int check_uts_namespaces(const struct rules *rules)
{
	const Snapshot *snapshot = rules->snapshot;

	for (size_t i = 0; i < snapshot->n_uts_namespaces; i++) {
		const UtsNamespace *ns = snapshot->uts_namespaces[i];

		REQUIRE(rules, is_index_or_none(ns->made_from, snapshot->n_uts_namespaces),
			"uts namespace %zu is made from number %d", i, ns->made_from);
		REQUIRE(rules, ns->owner <= snapshot->n_user_namespaces,
			"uts namespace %zu: owner %u", i, ns->owner);
		REQUIRE(rules,
			strlen(ns->nodename) <= MAX_UTS_NAME &&
				strlen(ns->domainname) <= MAX_UTS_NAME,
			"uts namespace %zu: a name is too long", i);
	}
	return 0;
}

/* A path inside of a file system: no way out of it. */
static bool is_inner_path(const char *path)
{
	const char *part = path;

	if (strlen(path) >= 4096)
		return false;
	while (part) {
		if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0'))
			return false;
		part = strchr(part, '/');
		if (part)
			part++;
	}
	return true;
}

static int check_entry(const struct rules *rules, const Mount *mount, size_t index)
{
	const TmpfsEntry *entry = mount->entries[index];

	REQUIRE(rules, is_inner_path(entry->path), "its file %zu is called \"%.256s\"", index,
		entry->path);
	REQUIRE(rules, entry->mode < 0200000, "its file %zu: mode %o", index, entry->mode);
	REQUIRE(rules, entry->link >= -1 && entry->link < (int64_t)index,
		"its file %zu: a link to a later one", index);
	REQUIRE(rules, entry->size <= MAX_SIZE, "its file %zu: impossible size", index);
	REQUIRE(rules, entry->n_xattr_names == entry->n_xattr_values,
		"its file %zu: attributes without a value", index);
	return check_page_runs(rules, entry->pages, 0, (entry->size + IMAGE_PAGE - 1) / IMAGE_PAGE);
}

static int check_mount(const struct rules *rules, const MountNamespace *ns, size_t index)
{
	const Mount *mount = ns->mounts[index];

	REQUIRE(rules, is_path(mount->point), "\"%.256s\" is no path", mount->point);
	REQUIRE(rules,
		mount->kind != REPRISE__MOUNT__KIND__BIND || mount->same >= 0 ||
			is_path(mount->source),
		"its source \"%.256s\" is no path", mount->source);
	REQUIRE(rules, is_index_or_none(mount->pid_namespace, rules->snapshot->n_pid_namespaces),
		"its pid namespace is number %d", mount->pid_namespace);
	REQUIRE(rules, is_index_or_none(mount->same, index),
		"it shows mount %d, which is not before it", mount->same);
	REQUIRE(rules, is_inner_path(mount->fs_root), "\"%.256s\" is no path", mount->fs_root);
	for (size_t i = 0; i < mount->n_entries; i++) {
		int r = check_entry(rules, mount, i);

		if (r < 0)
			return r;
	}
	return 0;
}

static int check_mount_namespaces(const struct rules *rules)
{
	const Snapshot *snapshot = rules->snapshot;

	for (size_t i = 0; i < snapshot->n_mount_namespaces; i++) {
		const MountNamespace *ns = snapshot->mount_namespaces[i];

		REQUIRE(rules, is_index_or_none(ns->made_from, i),
			"mount namespace %zu is made from number %d, which does not come before it",
			i, ns->made_from);
		REQUIRE(rules, ns->root[0] == '\0' || is_path(ns->root),
			"mount namespace %zu: its root is no path", i);
		REQUIRE(rules, is_index_or_none(ns->user_namespace, snapshot->n_user_namespaces),
			"mount namespace %zu: owner %d", i, ns->user_namespace);
		for (size_t j = 0; j < ns->n_gone; j++)
			REQUIRE(rules, is_path(ns->gone[j]),
				"mount namespace %zu: \"%.256s\" is no path", i, ns->gone[j]);
		for (size_t j = 0; j < ns->n_mounts; j++) {
			int r = check_mount(rules, ns, j);

			if (r < 0) {
				error_task(rules->err, "mount %zu of mount namespace %zu", j, i);
				return r;
			}
		}
	}
	return 0;
}

int check_namespaces(const struct rules *rules)
{
	int r = check_user_namespaces(rules);

	if (r == 0)
		r = check_uts_namespaces(rules);
	return r < 0 ? r : check_mount_namespaces(rules);
}
