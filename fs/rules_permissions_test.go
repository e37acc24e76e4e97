package fs_test

import (
	"fmt"
	"strings"
)

func permissionRules() []rule {
	return append(append(modeRules(), deniedRules()...), linkOwnerRules()...)
}

// modeRules go through all modes of a class for each kind of access.
func modeRules() (rules []rule) {
	for class, shift := range map[string]int{"owner": 6, "group": 3, "other": 0} {
		owner := map[string]string{"owner": "65534 65533", "group": "65533 65534", "other": "65533 65533"}[class]
		for bits := range 8 {
			// The other classes may do what this one may not, and the first
			// that fits decides.
			mode := 0o777&^(7<<shift) | bits<<shift
			var steps []string
			for _, call := range []string{"open f rdonly", "open f wronly", "open f rdwr", "open f rdonly,trunc", "open f rdwr,creat 0644", "truncate f 3",
				"access f 4", "access f 2", "access f 1", "access f 7", "setxattr f user.a b 0", "getxattr f user.a", "rmxattr f user.a",
				"utimens f now now", "utimens f 1 2", "utimens f omit omit", "utimens f now omit", "chmod f 0777", "chown f 65534 -1"} {
				steps = append(steps, ann+call, fmt.Sprintf("chmod f %#o", mode), "chown f "+owner)
			}
			for _, call := range []string{"list d", "stat d/in", "create d/new 0644", "unlink d/in", "open d rdonly", "rename d/in d/out", "mkdir d/sub 0755", "access d 7"} {
				steps = append(steps, ann+call)
			}
			setup := []string{"create f 0644", "chown f " + owner, fmt.Sprintf("chmod f %#o", mode),
				"mkdir d 0755", "create d/in 0666", "chown d " + owner, fmt.Sprintf("chmod d %#o", mode)}
			rules = append(rules, rule{name: fmt.Sprintf("%s %#o", class, mode), setup: setup, steps: steps})
		}
	}
	return rules
}

// deniedRules try every call in directories that may not be searched or
// written, as one who is not the owner and as root.
func deniedRules() (rules []rule) {
	for _, mode := range []string{"0700", "0755", "0711", "0666", "0777", "01777"} {
		for _, name := range []string{"file", "empty", "missing", "tofile"} {
			var steps []string
			for i, call := range pathCalls {
				if (i+len(rules))%2 != 0 && !long() {
					continue
				}
				call = strings.NewReplacer("ok", "d/ok", "new", "d/new", "empty", "d/full").Replace(call)
				steps = append(steps, ann+fmt.Sprintf(call, "d/"+name))
			}
			rules = append(rules, rule{name: "in a directory of mode " + mode, fresh: true, steps: steps,
				setup: []string{"mkdir d 0777", "create d/ok 0644", "create d/file 0644", "mkdir d/empty 0755", "mkdir d/full 0755", "create d/full/x 0600",
					"symlink file d/tofile", "chmod d " + mode}})
		}
	}
	return rules
}

// linkOwnerRules: who may change what belongs to whom.
func linkOwnerRules() (rules []rule) {
	for _, k := range someKinds() {
		for _, owner := range []string{"65534 65534", "65534 65533", "65533 65534", "0 0"} {
			var steps []string
			for _, who := range []string{ann, bob, both, ""} {
				for _, call := range []string{"chmod d/x 0640", "chown d/x 65534 65534", "chown d/x -1 65533", "lchown d/x 65533 -1", "lchown d/x -1 -1",
					"lchown d/x 65534 65534", "link d/x d/y", "rename d/x d/z", "rename d/z d/x", "unlink d/y"} {
					steps = append(steps, who+call)
				}
				steps = append(steps, "lchown d/x "+owner)
			}
			rules = append(rules, rule{name: k.name + " of " + owner, setup: []string{"mkdir d 0777", makeKind(k.name, "d/x"), "lchown d/x " + owner}, steps: steps})
		}
	}
	return rules
}

// stickyRules: in a sticky directory only the owner of the file or of the
// directory, and root, may take a name away.
func stickyRules() (rules []rule) {
	for _, dirOwner := range []string{"0", "65534", "65533"} {
		for _, owner := range []string{"0", "65534", "65533"} {
			for _, k := range someKinds() {
				setup := []string{"mkdir s 0777", "mkdir o 0777", "chown s " + dirOwner + " 0", "chmod s 01777",
					makeKind(k.name, "s/x"), "lchown s/x " + owner + " 0", makeKind(k.name, "o/own"), "lchown o/own 65534 65534"}
				var steps []string
				for _, who := range []string{ann, bob, ""} {
					for _, call := range []string{remove(k.name, "s/x"), "rename s/x o/moved", "rename s/x s/moved", "rename o/own s/x", "exchange o/own s/x", "link s/x o/linked"} {
						steps = append(steps, who+call)
					}
				}
				rules = append(rules, rule{name: fmt.Sprintf("%s of %s in a directory of %s", k.name, owner, dirOwner), setup: setup, steps: steps, fresh: true})
			}
		}
	}
	return rules
}

// setIDRules: when setuid and setgid bits stay and go, and what is handed
// down.
func setIDRules() (rules []rule) {
	for _, k := range kinds[:len(kinds)-1] {
		for _, mode := range []string{"06777", "04755", "02755", "02745", "06666", "04644", "07777"} {
			var steps []string
			for _, call := range []string{"chown x 65533 65533", "chown x 65534 65534", "chown x -1 -1", ann + "chown x -1 -1", both + "chown x 65534 65533",
				both + "chown x -1 65534", ann + "lchown x 65534 65534", "lchown x 0 0", bob + "chmod x " + mode, ann + "chmod x " + mode, both + "chmod x " + mode} {
				steps = append(steps, call, "chown x 65534 65533", "chmod x "+mode)
			}
			rules = append(rules, rule{name: k.name + " " + mode, setup: []string{makeKind(k.name, "x"), "chown x 65534 65533", "chmod x " + mode}, steps: steps})
		}
	}
	for _, mode := range []string{"06777", "04777", "02777", "02767", "06666", "01777"} {
		var steps []string
		for _, who := range []string{ann, bob, both, ""} {
			for _, call := range []string{"truncate f 3", "truncate f 3", "open f wronly,trunc", "content f abc", "setxattr f user.a b 0",
				"fd a f rdwr|pwrite a 0 x|fstat a|close a", "fd a f rdwr|ftruncate a 5|fstat a|close a", "fd a f rdwr|allocate a 0 0 9|fstat a|close a",
				"fd a f rdwr|allocate a 3 0 2|fstat a|close a", "fd a f wronly,append|write a xyz|fstat a|close a"} {
				for c := range strings.SplitSeq(call, "|") {
					steps = append(steps, who+c)
				}
				steps = append(steps, "chmod f "+mode)
			}
		}
		rules = append(rules, rule{name: "written " + mode, setup: []string{"content f abcdef", "chown f 65533 65533", "chmod f " + mode}, steps: steps})
	}
	return append(rules, inheritRules()...)
}

func inheritRules() (rules []rule) {
	for _, mode := range []string{"02777", "0777", "03777"} {
		for _, who := range []string{ann, both, ""} {
			rules = append(rules, rule{name: "in a directory " + mode, setup: []string{"mkdir d 0777", "chown d 0 65533", "chmod d " + mode}, steps: []string{
				who + "create d/f 0644", who + "create d/g 02755", who + "create d/h 02745", who + "create d/i 06777", who + "mkdir d/sub 0755", who + "mkdir d/sub2 02700",
				who + "mkdir d/sub/deep 0700", who + "mkfifo d/p 0644", who + "mknod d/q fifo 02755 0 0", who + "mknod d/r file 06755 0 0", who + "mknod d/e dir 0755 0 0",
				who + "symlink f d/l", who + "bind d/s", "mknod d/c char 06755 1 2",
				"umask 027", who + "create d/u 0666", who + "mkdir d/v 0777", who + "mkfifo d/w 0666", who + "create d/y 02777", "umask 0",
			}})
		}
	}
	return rules
}
