package index

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A world is a small tree that the tables below start from:
// d/ d/sub/ d/f e/ e/full/ e/full/x f hard (= f) l → f
type world struct {
	*Index
	d, sub, e, full, f Inode
}

func newWorld(t *testing.T) *world {
	w := &world{Index: open(t, t.TempDir(), byHand)}
	w.d, w.e = mkdir(t, w.Index, Root, "d"), mkdir(t, w.Index, Root, "e")
	w.sub, w.full = mkdir(t, w.Index, w.d.Ino, "sub"), mkdir(t, w.Index, w.e.Ino, "full")
	touch(t, w.Index, w.d.Ino, "f")
	touch(t, w.Index, w.full.Ino, "x")
	w.f = touch(t, w.Index, Root, "f")
	must[Inode](t)(w.Link(w.f.Ino, Root, "hard"))
	must[Inode](t)(w.Create(Root, "l", NewInode{Mode: syscall.S_IFLNK | 0o777, Target: "f"}))
	return w
}

func (w *world) nlink(t *testing.T, path string) uint32 {
	return must[Dirent](t)(w.Resolve(path)).Inode.Nlink
}

func TestRename(t *testing.T) {
	const start = "d d/f d/sub e e/full e/full/x f hard l"
	for _, c := range []struct {
		name     string
		from, to string // "parent name" by the world's directories
		flags    uint32
		err      error
		want     string // the tree; "" for unchanged
		gone     bool
	}{
		{"file", "/ f", "/ g", 0, nil, "d d/f d/sub e e/full e/full/x g hard l", false},
		{"file over file", "d f", "/ l", 0, nil, "d d/sub e e/full e/full/x f hard l", true},
		{"over a hard link's name", "d f", "/ f", 0, nil, "d d/sub e e/full e/full/x f hard l", false},
		{"same inode", "/ f", "/ hard", 0, nil, "", false},
		{"onto itself", "/ f", "/ f", 0, nil, "", false},
		{"dir across", "d sub", "e sub", 0, nil, "d d/f e e/full e/full/x e/sub f hard l", false},
		{"dir over empty dir", "/ e", "d sub", 0, nil, "d d/f d/sub d/sub/full d/sub/full/x f hard l", true},
		{"dir over full dir", "d sub", "/ e", 0, syscall.ENOTEMPTY, "", false},
		{"dir over its parent", "d sub", "/ d", 0, syscall.ENOTEMPTY, "", false},
		{"dir over file", "/ d", "/ f", 0, syscall.ENOTDIR, "", false},
		{"file over dir", "/ f", "/ d", 0, syscall.EISDIR, "", false},
		{"into itself", "/ d", "d x", 0, syscall.EINVAL, "", false},
		{"into its subtree", "/ e", "full y", 0, syscall.EINVAL, "", false},
		{"missing", "/ nix", "/ g", 0, syscall.ENOENT, "", false},
		{"into a file", "/ l", "f y", 0, syscall.ENOTDIR, "", false},
		{"noreplace, free", "/ f", "/ g", unix.RENAME_NOREPLACE, nil, "d d/f d/sub e e/full e/full/x g hard l", false},
		{"noreplace, taken", "/ f", "/ l", unix.RENAME_NOREPLACE, syscall.EEXIST, "", false},
		{"exchange dir and file", "/ e", "d f", unix.RENAME_EXCHANGE, nil, "d d/f d/f/full d/f/full/x d/sub e f hard l", false},
		{"exchange with nothing", "/ f", "/ g", unix.RENAME_EXCHANGE, syscall.ENOENT, "", false},
		{"exchange with own subtree", "/ e", "e full", unix.RENAME_EXCHANGE, syscall.EINVAL, "", false},
		{"whiteout without an owner", "/ f", "/ g", unix.RENAME_WHITEOUT, syscall.EINVAL, "", false},
		{"both flags", "/ f", "/ g", unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE, syscall.EINVAL, "", false},
		{"long name", "/ f", "/ " + strings.Repeat("n", 256), 0, syscall.ENAMETOOLONG, "", false},
		{"to dot", "/ f", "/ .", 0, syscall.EINVAL, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			place := func(s string) (Ino, string) {
				dir, name, _ := strings.Cut(s, " ")
				return map[string]Ino{"/": Root, "d": w.d.Ino, "e": w.e.Ino, "full": w.full.Ino, "f": w.f.Ino}[dir], name
			}
			op, on := place(c.from)
			np, nn := place(c.to)
			gone, err := w.Rename(op, on, np, nn, c.flags)
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if want := c.want; tree(t, w.Index) != want && (want != "" || tree(t, w.Index) != start) {
				t.Errorf("tree %q, want %q", tree(t, w.Index), want)
			}
			if gone.Gone != c.gone || gone.Gone != (gone.Inode.Ino != 0 && gone.Inode.Nlink == 0) {
				t.Errorf("gone %+v, want %v", gone, c.gone)
			}
			clean(t, w.Index)
		})
	}
}

func TestLinkCountsAndTimes(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]uint32{"/": 4, "/d": 3, "/d/sub": 2, "/f": 2, "/l": 1} {
		if got := w.nlink(t, path); got != want {
			t.Errorf("%s has %d links, want %d", path, got, want)
		}
	}
	before := must[Inode](t)(w.Get(w.d.Ino))
	if _, err := w.Rename(w.d.Ino, "sub", Root, "sub", 0); err != nil {
		t.Fatal(err)
	}
	after := must[Inode](t)(w.Get(w.d.Ino))
	if !before.Mtime.Before(after.Mtime) || after.Mtime != after.Ctime || after.Atime != before.Atime {
		t.Errorf("times of the directory: %+v, then %+v", before, after)
	}
	if w.nlink(t, "/d") != 2 || w.nlink(t, "/") != 5 {
		t.Errorf("links after the move: %d, %d", w.nlink(t, "/d"), w.nlink(t, "/"))
	}
	if up, err := w.Parent(w.sub.Ino); err != nil || up != Root {
		t.Errorf("Parent = %d, %v", up, err)
	}
	paths := must[[]string](t)(w.Paths(w.f.Ino))
	if strings.Join(paths, " ") != "/f /hard" {
		t.Errorf("Paths = %v", paths)
	}
}

func TestErrors(t *testing.T) {
	w := newWorld(t)
	last := func(_ any, err error) error { return err }
	create := func(parent Ino, name string, n NewInode) error { return last(w.Create(parent, name, n)) }
	file := NewInode{Mode: regular}
	for name, c := range map[string]struct{ got, want error }{
		"create over":         {create(Root, "f", file), syscall.EEXIST},
		"create in a file":    {create(w.f.Ino, "x", file), syscall.ENOTDIR},
		"create in nothing":   {create(9999, "x", file), syscall.ENOENT},
		"create slash":        {create(Root, "a/b", file), syscall.EINVAL},
		"create empty":        {create(Root, "", file), syscall.EINVAL},
		"create NUL":          {create(Root, "a\x00", file), syscall.EINVAL},
		"create dots":         {create(Root, "..", file), syscall.EINVAL},
		"create 256":          {create(Root, strings.Repeat("é", 128), file), syscall.ENAMETOOLONG},
		"create no type":      {create(Root, "x", NewInode{Mode: 0o644}), syscall.EINVAL},
		"symlink to nothing":  {create(Root, "x", NewInode{Mode: syscall.S_IFLNK}), syscall.ENOENT},
		"symlink too long":    {create(Root, "x", NewInode{Mode: syscall.S_IFLNK, Target: strings.Repeat("x", 4096)}), syscall.ENAMETOOLONG},
		"unlink dir":          {last(w.Unlink(Root, "d")), syscall.EISDIR},
		"unlink missing":      {last(w.Unlink(Root, "nix")), syscall.ENOENT},
		"rmdir file":          {last(w.Rmdir(Root, "f")), syscall.ENOTDIR},
		"rmdir full":          {last(w.Rmdir(Root, "d")), syscall.ENOTEMPTY},
		"rmdir missing":       {last(w.Rmdir(Root, "nix")), syscall.ENOENT},
		"link dir":            {last(w.Link(w.d.Ino, Root, "x")), syscall.EPERM},
		"link over":           {last(w.Link(w.f.Ino, Root, "l")), syscall.EEXIST},
		"lookup in file":      {last(w.Lookup(w.f.Ino, "x")), syscall.ENOTDIR},
		"lookup missing":      {last(w.Lookup(Root, "x")), syscall.ENOENT},
		"readdir of file":     {last(w.ReadDir(w.f.Ino, "", 0)), syscall.ENOTDIR},
		"get":                 {last(w.Get(9999)), syscall.ENOENT},
		"content of dir":      {last(w.SetContent(w.d.Ino, Content{})), syscall.EISDIR},
		"hide missing":        {w.HideThumb(Root, "nix"), syscall.ENOENT},
		"xattr missing":       {last(w.GetXattr(w.f.Ino, "user.x")), syscall.ENODATA},
		"xattr remove":        {w.RemoveXattr(w.f.Ino, "user.x"), syscall.ENODATA},
		"xattr replace":       {w.SetXattr(w.f.Ino, "user.x", nil, unix.XATTR_REPLACE), syscall.ENODATA},
		"xattr large":         {w.SetXattr(w.f.Ino, "user.x", make([]byte, 65537), 0), syscall.E2BIG},
		"resolve thru a file": {last(w.Resolve("/f/x")), syscall.ENOTDIR},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	clean(t, w.Index)
}

// TestForgetSeveral drops those without a name, and tells of their bytes.
func TestForgetSeveral(t *testing.T) {
	w := newWorld(t)
	inos, staged := []Ino{w.f.Ino, 12345, w.d.Ino}, []StagedID(nil)
	for i := range forgetBatch + 5 {
		name := fmt.Sprint(i)
		in := must[Inode](t)(w.Create(Root, name, NewInode{Mode: syscall.S_IFREG | 0o644}))
		if i%100 != 7 {
			id := w.NextStaged()
			must[Inode](t)(w.SetContent(in.Ino, Content{Staged: id, Size: 1}))
			staged = append(staged, id)
		}
		must[Removed](t)(w.Unlink(Root, name))
		inos = append(inos, in.Ino)
	}
	if ids := must[[]StagedID](t)(w.Forget(inos...)); !slices.Equal(ids, staged) {
		t.Errorf("Forget = %d, want %d", ids, staged)
	}
	for i, ino := range inos {
		if _, err := w.Get(ino); errors.Is(err, syscall.ENOENT) != (i != 0 && i != 2) {
			t.Errorf("inode %d: %v", ino, err)
		}
	}
	clean(t, w.Index)
}

func TestUnlinkedStaysUntilForgotten(t *testing.T) {
	w := newWorld(t)
	id := w.NextStaged()
	must[Inode](t)(w.SetContent(w.f.Ino, Content{Staged: id, Size: 9}))
	if gone := must[Removed](t)(w.Unlink(Root, "hard")); gone.Gone {
		t.Error("gone while it has a name")
	}
	if s := must[[]StagedID](t)(w.Forget(w.f.Ino)); len(s) > 0 {
		t.Error("forgot an inode that has a name")
	}
	if gone := must[Removed](t)(w.Unlink(Root, "f")); !gone.Gone || gone.Inode.Ino != w.f.Ino {
		t.Errorf("gone = %+v", gone)
	}
	if q := must[[]QueueEntry](t)(w.Queue()); len(q) != 0 {
		t.Errorf("still queued: %+v", q)
	}
	if _, err := w.Link(w.f.Ino, Root, "again"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("linked an unlinked inode: %v", err)
	}
	if used := must[map[StagedID]Ino](t)(w.StagedInUse()); used[id] != w.f.Ino {
		t.Error("its bytes could be deleted while it is open")
	}
	clean(t, w.Index)
	if s := must[[]StagedID](t)(w.Forget(w.f.Ino)); !slices.Equal(s, []StagedID{id}) {
		t.Errorf("Forget = %d, want %d", s, id)
	}
	if _, err := w.Get(w.f.Ino); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Get after Forget: %v", err)
	}
	if gone := must[Removed](t)(w.Rmdir(w.d.Ino, "sub")); !gone.Gone || gone.Inode.Ino != w.sub.Ino {
		t.Errorf("gone = %+v", gone)
	}
	if n := must[Inode](t)(w.Get(w.sub.Ino)); n.Nlink != 0 {
		t.Errorf("a removed directory has %d links", n.Nlink)
	}
	if _, err := w.Create(w.sub.Ino, "x", NewInode{Mode: regular}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("created in a removed directory: %v", err)
	}
	clean(t, w.Index)
}

func TestSetgidDirectoryHandsDownItsGroup(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	d := must[Inode](t)(ix.Create(Root, "d", NewInode{Mode: directory | syscall.S_ISGID, GID: 42}))
	f := touch(t, ix, d.Ino, "f")
	sub := mkdir(t, ix, d.Ino, "sub")
	if f.GID != 42 || f.Mode != regular || sub.GID != 42 || sub.Mode != directory|syscall.S_ISGID {
		t.Errorf("f %o %d, sub %o %d", f.Mode, f.GID, sub.Mode, sub.GID)
	}
}

func TestReadDirGoesOnAfterAName(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	names := []string{"a", "a\x01", "a b", "ab", "b", "é", "\xff"}
	for i, name := range names {
		touch(t, ix, Root, name)
		if i == 3 {
			noError(t, ix.store.commit())
		}
	}
	var got []string
	for after := ""; ; {
		part := must[[]Dirent](t)(ix.ReadDir(Root, after, 2))
		if len(part) == 0 {
			break
		}
		for _, d := range part {
			got = append(got, d.Name)
		}
		after = got[len(got)-1]
	}
	if strings.Join(got, "|") != "a|a\x01|a b|ab|b|é|\xff" {
		t.Errorf("got %q", got)
	}
}

func TestLinksHaveALimit(t *testing.T) {
	w := newWorld(t)
	noError(t, w.store.update(func(tx *tx) error {
		n, err := tx.inode(w.f.Ino)
		n.Nlink = linkMax - 1
		tx.putInode(&n)
		return err
	}))
	if n := must[Inode](t)(w.Link(w.f.Ino, Root, "last")); n.Nlink != linkMax {
		t.Errorf("%d links, want %d", n.Nlink, linkMax)
	}
	if _, err := w.Link(w.f.Ino, Root, "one more"); !errors.Is(err, syscall.EMLINK) {
		t.Errorf("%v, want EMLINK", err)
	}
}
