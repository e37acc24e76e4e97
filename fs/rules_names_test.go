package fs_test

import (
	"fmt"
	"strings"
)

// pathCalls are the calls that take a path, at %s.
var pathCalls = []string{
	"create %s 0644", "open %s rdonly", "open %s rdwr,creat 0644", "open %s rdonly,directory", "open %s rdonly,nofollow,nonblock",
	"open %s wronly,trunc", "mkdir %s 0755", "rmdir %s", "unlink %s", "link ok %s", "link %s new", "linkto %s new",
	"symlink ok %s", "rename ok %s", "rename empty %s", "rename %s new", "noreplace ok %s", "exchange ok %s", "exchange %s empty",
	"mkfifo %s 0644", "mknod %s char 0644 1 2", "bind %s", "chmod %s 0700", "chown %s 1 2", "lchown %s 1 2", "truncate %s 10",
	"utimens %s 5 6", "stat %s", "lstat %s", "readlink %s", "list %s", "statfs %s", "access %s 4",
	"setxattr %s user.a b 0", "getxattr %s user.a",
}

// world is what a path leads into: what all calls need, and what the path
// names.
func world(path string) []string {
	w := []string{"create ok 0644", "mkdir empty 0755"}
	for _, k := range kinds {
		if strings.HasPrefix(path, k.name) {
			w = append(w, makeKind(k.name, k.name))
		}
	}
	for _, more := range []struct{ part, steps string }{
		{"full", "mkdir full 0755|create full/inside 0644|mkdir full/sub 0755"}, {"hard", "create file 0644|link file hard"},
		{"tofile", "create file 0644|symlink file tofile"}, {"todir", "mkdir dir 0755|symlink dir todir"}, {"/file", "create file 0644"},
		{"dangling", "symlink nowhere dangling"}, {"loop1", "symlink loop2 loop1|symlink loop1 loop2"}, {"%P", "mkdirs %P4095"},
	} {
		if strings.Contains(path, more.part) {
			w = append(w, strings.Split(more.steps, "|")...)
		}
	}
	return w
}

// paths are all kinds of what a path can lead to, or fail to.
var paths = []string{
	"file", "empty", "full", "fifo", "socket", "tofile", "todir", "dangling", "missing", "hard",
	"file/x", "fifo/x", "char/x", "socket/x", "tofile/x", "todir/x", "dangling/x", "missing/x", "loop1", "loop1/x",
	"%L255", "%L256", "%L256/x", "empty/%L255", "empty/%L256",
	".", "..", "./", "full/", "full/.", "full/..", "full/sub/../inside", "file/", "file/.", "missing/", "todir/", "todir/.", "dangling/",
	".//file", "full//inside", "odd%Nname\xff\x01", "full/sub/../../ok",
}

const changers = "chmod chown lchown list utimens setxattr stat lstat"

func nameRules() (rules []rule) {
	for i, path := range paths {
		var steps []string
		for j, call := range pathCalls {
			switch {
			case (i+j)%2 != 0 && !long():
			case path == "fifo" && strings.HasPrefix(call, "open") && !strings.Contains(call, "nonblock"):
				// would wait for somebody at the other end
			case path == ".." && strings.Contains(changers, strings.Fields(call)[0]):
				// that directory is all stories' own
			default:
				steps = append(steps, fmt.Sprintf(call, path))
			}
		}
		rules = append(rules, rule{name: "path " + path, setup: world(path), steps: steps, fresh: true})
	}
	for _, path := range []string{"%P4095", "%P4096"} {
		var steps []string
		for _, call := range pathCalls {
			steps = append(steps, fmt.Sprintf(call, path), "lstat new", "unlink new", "rmdir new")
		}
		rules = append(rules, rule{name: "path " + path, setup: world(path), steps: steps},
			rule{name: "target " + path, steps: []string{"symlink " + path + " a", "readlink a", "lstat a", "stat a"}})
	}
	rules = append(rules, rule{name: "bad addresses", steps: []string{"fault"}})
	for _, k := range kinds {
		steps := []string{makeKind(k.name, "new"), "list .", "lstat new", makeKind(k.name, "file"), makeKind(k.name, "tofile"), makeKind(k.name, "dangling"), makeKind(k.name, "full")}
		rules = append(rules, rule{name: "make " + k.name, setup: world("full tofile dangling"), steps: steps})
	}
	return append(rules, removedDirectoryRules()...)
}

func removedDirectoryRules() []rule {
	return []rule{
		{name: "in a removed directory", steps: []string{
			"mkdir d 0755", "fd d d rdonly,directory", "rmdir d", "fstat d", "createat d f", "mkdirat d sub", "listopened d", "fchmod d 0700", "fstat d", "fsync d", "close d",
		}},
		{name: "in a directory renamed over", steps: []string{
			"mkdir d 0755", "mkdir e 0700", "fd d d rdonly,directory", "rename e d", "fstat d", "createat d f", "listopened d", "list .",
		}},
		{name: "in a moved directory", steps: []string{
			"mkdir d 0755", "mkdir e 0755", "fd d d rdonly,directory", "rename d e/d", "createat d f", "list e/d", "stat e/d/f", "stat e/d/..", "fstat d",
		}},
	}
}
