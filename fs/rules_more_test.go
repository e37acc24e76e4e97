package fs_test

import "fmt"

// renameRules go through all pairs of what is moved and what it meets.
func renameRules() (rules []rule) {
	things := []string{"file", "symlink", "dir", "full", "nothing", "hard"}
	if long() {
		things = append(things, "fifo", "char", "socket", "loop")
	}
	put := func(thing, name string) []string {
		switch thing {
		case "full":
			return []string{"mkdir " + name + " 0755", "create " + name + "/x 0644"}
		case "hard": // both are names of one file then
			return []string{"link one " + name}
		case "loop":
			return []string{"symlink " + name + " " + name}
		case "nothing":
			return nil
		}
		return []string{makeKind(thing, name)}
	}
	for _, from := range things {
		for _, to := range things {
			for _, call := range []string{"rename", "noreplace", "exchange"} {
				setup := []string{"mkdir d 0755", "mkdir e 0755", "create one 0644"}
				setup = append(append(setup, put(from, "d/a")...), put(to, "e/b")...)
				rules = append(rules, rule{name: from + " over " + to, setup: setup, steps: []string{
					call + " d/a e/b", "stat d", "stat e", "stat one", call + " e/b d/a", call + " d/a e/b", "list d", "list e"}})
			}
		}
	}
	return append(rules,
		rule{name: "into itself", setup: []string{"mkdir a 0755", "mkdir a/b 0755", "mkdir a/b/c 0755", "create f 0644"}, steps: []string{
			"rename a a/b", "rename a a/x", "rename a a/b/c/x", "rename a a", "rename a/b a", "rename a/b/c a/b", "rename a/b/. x", "rename . x", "rename a/.. x",
			"rename f a/", "rename f f/", "rename a x/", "rename x y", "rename y/ z/", "exchange z z/b", "exchange z/b/c z", "exchange z z", "noreplace z z", "rename z/b/c .", "rename z/b/c ..",
		}},
		rule{name: "parents and links", setup: []string{"mkdir a 0755", "mkdir b 0755", "mkdir a/d 0755", "mkdir b/e 0755", "create f 0644", "link f a/f", "link f b/f"}, steps: []string{
			"rename a/d b/d", "stat a", "stat b", "stat b/d/..", "rename b/e b/d", "stat b", "exchange a/f b/d", "stat a", "stat b", "stat a/f/..", "rename b/f f", "rename f b/f", "unlink a/f", "unlink b/f", "stat f",
		}},
		rule{name: "a directory of another's", setup: []string{"mkdir s 0777", "mkdir t 0777", "mkdir s/d 0755", "chown s/d 65533 65533"}, steps: []string{
			ann + "rename s/d t/d", ann + "rename s/d s/e", ann + "rename s/e t/e", bob + "rename s/e t/e", bob + "rename s/d t/d", bob + "rename t/d t/e",
		}})
}

// timeRules: which times of which inodes a call changes, when it works and
// when it does not.
func timeRules() (rules []rule) {
	for _, k := range kinds {
		n := k.name
		rules = append(rules, rule{name: n, times: true, setup: []string{"mkdir d 0777", "mkdir e 0777", "create f 0644"}, steps: []string{
			makeKind(n, "d/x"), makeKind(n, "d/x"), ann + "chmod d/x 0600", "chmod d/x 0600", "chmod d/x 0600", ann + "lchown d/x 65534 65534", "lchown d/x 65534 65533", "lchown d/x -1 -1",
			both + "lchown d/x -1 65534", bob + "lchown d/x -1 -1", "link d/x e/y", "link d/x e/y", "rename d/x d/z", "rename d/nothing d/q", "rename d/z e/z", "rename e/z e/y", "rename e/y e/y",
			"utimens e/z now now", "utimens e/z omit omit", "utimens e/z 5 omit", "utimens e/z omit 6", "utimens e/z 7.8 9.1", bob + "utimens e/z 1 1", bob + "utimens e/z omit omit",
			makeKind(n, "d/over"), "rename e/z d/over", "link d/over d/again", "lstat d/over", remove(n, "d/over"), "rmdir d/over", "unlink d/over", "unlink d/again",
		}})
	}
	return append(rules,
		rule{name: "open and write", times: true, setup: []string{"mkdir d 0777", "content f abcdef"}, steps: []string{
			"create d/g 0644", "open d/g rdwr,creat 0644", "open d/g rdwr,creat,excl 0644", "open d/h rdonly,creat 0644", "open f wronly,trunc", "open f wronly,trunc", "truncate f 5", "truncate f 5",
			"truncate f 0", "truncate f 0", ann + "truncate f 3", "truncate d 3", "open f wronly", "fd a f rdwr", "pwrite a 0 abc", "pwrite a 1 x", "ftruncate a 8", "ftruncate a 8", "ftruncate a 2", "fstat a", "fsync a",
			"allocate a 0 0 100", "allocate a 1 100 100", "allocate a 3 10 20", "futimens a 3 4", "pwrite a 5 zz", "fchmod a 0600", "fchown a 1 1", "close a", "lstat f",
			"fd b f rdonly", "ftruncate b 1", "futimens b now now", "close b",
		}},
		rule{name: "names", times: true, setup: []string{"mkdir d 0777", "mkdir e 0777", "mkdir d/s 0777", "create f 0644", "link f d/f"}, steps: []string{
			"symlink f d/l", "readlink d/l", "rename d/s e/s", "rmdir e/s", "rmdir e/s", "unlink d/f", "unlink d/f", "exchange f d/l", "noreplace f d/l", "noreplace f d/m", "mkdir e/t 0755", "rename d/m e/m", "rmdir e", "exchange e/t d/l",
			ann + "unlink e/m", ann + "rename f g",
		}},
		rule{name: "attributes", times: true, setup: []string{"create f 0644", "mkdir d 0755"}, steps: []string{
			"setxattr f user.a one 0", "setxattr f user.a one 1", "setxattr f user.a two 2", "getxattr f user.a", "rmxattr f user.a", "rmxattr f user.a", "setxattr d user.a one 0", "access f 4", "statfs .", "stat f",
		}},
		rule{name: "unlinked", times: true, setup: []string{"content f abc", "link f g"}, steps: []string{
			"fd a f rdwr", "unlink f", "fstat a", "pwrite a 0 xyz", "lstat g", "rename g h", "unlink h", "pwrite a 3 more", "fstat a", "futimens a 5 6", "ftruncate a 1", "fstat a", "fchmod a 0600", "fstat a", "close a",
		}})
}

// utimensRules: who may set which times to what.
func utimensRules() (rules []rule) {
	for _, k := range kinds {
		for _, mode := range []string{"0644", "0666", "0444"} {
			var steps []string
			for _, who := range []string{ann, bob, ""} {
				for _, times := range []string{"now now", "now omit", "omit now", "omit omit", "1 2", "1 now", "now 2", "omit 2", "1 omit", "0.999999999 -1", "-2147483648 -1.5", "2147483648 4294967296", "15032385535 15032385534.999999999", "1.1000000000 2", "1 2.-1"} {
					steps = append(steps, who+"utimens x "+times)
				}
			}
			setup := []string{makeKind(k.name, "x"), "lchown x 65534 65534"}
			if k.name != "symlink" {
				setup = append(setup, "chmod x "+mode)
			}
			rules = append(rules, rule{name: k.name + " " + mode, setup: setup, steps: steps})
		}
	}
	return rules
}

// handleRules: files that are open while their names and sizes change.
func handleRules() []rule {
	return []rule{
		{name: "unlinked", steps: []string{
			"content f abcdef", "fd a f rdwr", "unlink f", "fstat a", "pread a 0 10", "pwrite a 3 XYZ12", "pread a 0 20", "ftruncate a 2", "pread a 0 20", "ftruncate a 9", "pread a 0 20", "fstat a",
			"linkfd a g", "fchmod a 0600", "fchown a 1 2", "fstat a", "fsync a", "create f 0644", "lstat f", "fstat a", "allocate a 0 20 5", "fstat a", "allocate a 3 0 4", "pread a 0 20", "seek a 0 end", "close a", "lstat f",
		}},
		{name: "unlinked before written", steps: []string{
			"fd a f rdwr,creat,excl 0640", "unlink f", "fstat a", "write a hello", "fstat a", "pread a 0 9", "fsetxattr a user.a b 0", "fchmod a 0600", "fstat a", "close a", "list .",
		}},
		{name: "renamed over", steps: []string{
			"content f old", "content g newer", "fd a f rdwr", "fd b g rdwr", "rename g f", "fstat a", "fstat b", "pread a 0 9", "pread b 0 9", "pwrite a 0 gone", "pwrite b 5 kept", "lstat f", "read f", "fstat a", "close a", "close b", "read f",
		}},
		{name: "one of two names", steps: []string{
			"content f abc", "link f g", "fd a f rdwr", "unlink f", "fstat a", "pwrite a 3 def", "lstat g", "read g", "truncate g 1", "fstat a", "pread a 0 9", "rename g h", "fstat a", "linkfd a i", "fstat a", "unlink h", "unlink i", "fstat a", "close a",
		}},
		{name: "several handles", steps: []string{
			"fd a f rdwr,creat 0644", "fd b f wronly,append", "fd c f rdonly", "write a one", "write b two", "pread c 0 9", "write a X", "write b three", "pread c 0 20", "truncate f 2", "pread c 0 20", "write b end", "fstat c",
			"fd d f wronly,trunc", "fstat c", "pread c 0 9", "write b again", "pread c 0 9", "write a tail", "pread c 0 30", "close d", "close b", "close a", "pread c 0 30", "write c no", "ftruncate c 1", "allocate c 0 0 5", "close c",
		}},
		{name: "holes", steps: []string{
			"fd a f rdwr,creat 0644", "pwrite a 100000 end", "fstat a", "seek a 200000 data", "seek a -1 set", "ftruncate a -1", "pwrite a -1 x", "allocate a 0 -1 5", "allocate a 0 0 0", "allocate a 2 0 5", "allocate a 3 99990 100", "fstat a", "read f", "truncate f -1",
			"allocate a 1 200000 10", "fstat a", "allocate a 0 200000 10", "fstat a", "allocate a 16 100000 5", "fstat a", "allocate a 17 200000 50", "fstat a", "ftruncate a 200005", "pread a 100000 4", "allocate a 0x40 0 5", "close a",
		}},
		{name: "open of any kind", steps: []string{
			"mkfifo p 0644", "open p wronly,nonblock", "open p rdonly,nonblock", "open p rdwr,nonblock", "bind s", "open s rdonly", "open s rdwr", "open s wronly,creat 0644", "symlink f l", "open l rdonly,nofollow", "open l wronly,creat 0600", "lstat f",
			"open l rdonly,creat,excl 0600", "symlink x dangling", "open dangling rdwr,creat,excl 0600", "open dangling rdwr,creat 0600", "lstat x", "mkdir d 0755", "open d rdonly", "open d wronly", "open d rdwr", "open d rdonly,creat 0644", "open d rdonly,trunc", "open d rdonly,directory,creat 0644",
			"open f rdonly,directory", "open l rdonly,directory", "open d path", "open p path", "open s path", "open l path,nofollow", "symlink loop loop", "open loop rdonly", "open loop rdonly,nofollow", "open loop rdwr,creat 0644", "open f rdonly,noatime", ann + "open f rdonly,noatime",
			"fd q p path", "fstat q", "fchmod q 0600", "close q",
		}},
		{name: "modes bind at open alone", steps: []string{
			"chmod . 0777", ann + "fd a f rdwr,creat 0", ann + "write a x", ann + "ftruncate a 10", ann + "fstat a", ann + "pread a 0 3", ann + "open f rdonly", ann + "open f wronly", "close a", "open f rdwr", "chmod f 0400", ann + "fd b f rdonly", "chmod f 0", ann + "pread b 0 5", "unlink f", ann + "pread b 0 5",
		}},
		{name: "programs", steps: []string{
			"copyexe prog", "fd a prog wronly", "exec prog", "close a", "start prog", "open prog rdonly", "open prog wronly", "open prog rdwr", "open prog wronly,trunc", "truncate prog 10", "chmod prog 0700", "rename prog moved", "open moved wronly", "unlink moved", ann + "exec nothing", "content script #!/bin/true", "exec script", "chmod script 0755", "exec script", "chmod script 0700", ann + "exec script",
		}},
	}
}

// valueRules: numbers at the ends of their ranges.
func valueRules() (rules []rule) {
	var steps []string
	for i, id := range []string{"0", "1", "65534", "65535", "65536", "2147483647", "2147483648", "4294967294"} {
		steps = append(steps, fmt.Sprintf("create u%d 0644", i), fmt.Sprintf("chown u%d %s %s", i, id, id), fmt.Sprintf("chown u%d -1 %s", i, id), fmt.Sprintf("chown u%d %s -1", i, id))
	}
	for i, dev := range []string{"0 0", "1 2", "255 255", "256 256", "4095 1048575", "8 65536", "42 1000000"} {
		steps = append(steps, fmt.Sprintf("mknod c%d char 0600 %s", i, dev), fmt.Sprintf("mknod b%d block 0777 %s", i, dev), ann+fmt.Sprintf("mknod n%d char 0600 %s", i, dev))
	}
	for mode := 0; mode <= 0o7777; mode += 0o131 {
		steps = append(steps, fmt.Sprintf("create m%d %#o", mode, mode), fmt.Sprintf("chmod u1 %#o", mode), fmt.Sprintf("mkdir d%d %#o", mode, mode), fmt.Sprintf("unlink m%d", mode), fmt.Sprintf("rmdir d%d", mode))
	}
	rules = append(rules, rule{name: "numbers", setup: []string{"chmod . 0777"}, steps: steps})
	for _, n := range []string{"1", "254", "1000", "4000", "4094", "4095"} {
		rules = append(rules, rule{name: "target of " + n, steps: []string{"symlink %P" + n + " l", "lstat l", "readlink l", "stat l", "rename l m", "link m n", "readlink n"}})
	}
	return rules
}

// xattrRules: user xattrs, which files and directories have alone.
func xattrRules() (rules []rule) {
	for _, k := range kinds {
		rules = append(rules, rule{name: k.name, setup: []string{makeKind(k.name, "x"), "lchown x 65534 65534"}, steps: []string{
			"setxattr x user.a one 2", "setxattr x user.a one 1", "setxattr x user.a two 1", "setxattr x user.a three 2", "setxattr x user.b four 0", "getxattr x user.a", "getxattr x user.none", ann + "setxattr x user.c five 0", bob + "setxattr x user.d six 0",
			bob + "getxattr x user.a", ann + "rmxattr x user.a", bob + "rmxattr x user.b", "rmxattr x user.none", "setxattr x user. none 0", "setxattr x user.%L250 x 0", "setxattr x user.%L251 x 0", "getxattr x user.%L250", "setxattr x none x 0", "setxattr x user.a x 8",
		}})
	}
	return append(rules, rule{name: "sticky directory", setup: []string{"mkdir d 01777", "chmod d 01777"}, steps: []string{ann + "setxattr d user.a b 0", "setxattr d user.a b 0", ann + "getxattr d user.a"}})
}
