package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/control"
)

func newHistory() *cobra.Command {
	o, nth, asJSON := &mountOptions{}, 0, false
	cmd := &cobra.Command{
		Use:   "history PATH",
		Short: "Show a file's overwritten and deleted versions, and bring one back",
		Long: `Show the versions that were overwritten or deleted at PATH, the newest first, and
whether their content can still be had: the service forgets files too. For a
directory, there or deleted, it is all that was below.

PATH is a path in a mounted tree or, with --profile or --state-dir, from the
top of that profile's tree, mounted or not. A renamed file's older versions are
found by the name that they had.

--restore N makes version N the content of PATH again, also if PATH and its
directory were deleted; what is there now goes to the history.`,
		Args: onePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("restore") && nth < 1 {
				return fail(exitUsage, "--restore %d: versions are numbered from 1, the newest", nth)
			}
			t, path, err := findPath(cmd, o, args[0])
			if err != nil {
				return err
			}
			list, err := t.history(cmd, control.Request{Op: control.OpHistory, Path: path, Restore: nth})
			if err != nil {
				return err
			}
			if nth > 0 {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is again as it was on %s\n", args[0], list[0].Mtime.Format(time.DateTime))
				return err
			}
			return showVersions(cmd.OutOrStdout(), args[0], list, asJSON)
		},
	}
	o.profile.register(cmd.Flags())
	cmd.Flags().IntVar(&nth, "restore", 0, "bring version `N` back")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// onePath takes exactly one argument, a path in a tree.
func onePath(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return fail(exitUsage, "%s needs one path (see %s --help)", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// An oldVersion is a content that a path had once, as a person sees it.
type oldVersion struct {
	N        int       `json:"n"` // 1 is the path's newest
	Path     string    `json:"path"`
	Size     int64     `json:"size"`
	Mtime    time.Time `json:"mtime"`
	Replaced time.Time `json:"replaced"`
	UUID     string    `json:"uuid"`
	Content  string    `json:"content"` // here, service or gone

	v index.Version
}

// Where a version's content is.
const (
	contentHere    = "here"    // on the local disk
	contentService = "service" // at the service, as far as is known
	contentGone    = "gone"    // the service has forgotten it
)

// versions lists those of a path, the newest first; those below it if it is a
// directory, or was none but a directory.
func versions(x *index.Index, blobs *blob.Store, path string) ([]oldVersion, error) {
	found, err := x.History(path)
	if d, derr := x.Resolve(path); err == nil && (len(found) == 0 || derr == nil && d.Inode.IsDir()) {
		var below []index.Version
		below, err = x.HistoryBelow(path)
		found = append(found, below...)
	}
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	slices.SortStableFunc(found, func(a, b index.Version) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return b.Replaced.Compare(a.Replaced)
	})
	list := make([]oldVersion, len(found))
	for i, v := range found {
		list[i] = oldVersion{N: 1, Path: v.Path, Size: v.Size, Mtime: v.Mtime.Time(), Replaced: v.Replaced,
			UUID: v.UUID.String(), Content: whereIs(x, blobs, v), v: v}
		if i > 0 && list[i-1].Path == v.Path {
			list[i].N = list[i-1].N + 1
		}
	}
	return list, nil
}

func whereIs(x *index.Index, blobs *blob.Store, v index.Version) string {
	if blobs.HasCached(blob.Key{UUID: v.UUID}) {
		return contentHere
	}
	if k, err := x.Known(v.UUID); err != nil || k.Expired {
		return contentGone
	}
	return contentService
}

// pick is the nth version of exactly this path.
func pick(list []oldVersion, path string, nth int) (oldVersion, error) {
	for _, v := range list {
		if v.Path == path && v.N == nth {
			return v, nil
		}
	}
	return oldVersion{}, fail(exitUsage, "%s has no version %d (chatfs history lists them)", path, nth)
}

// history asks the process, or does the work if there is none.
func (t *target) history(cmd *cobra.Command, r control.Request) (list []oldVersion, err error) {
	err = t.ask(cmd.Context(), r, func(e control.Event) error { return json.Unmarshal(e.Status, &list) })
	if exitCode(err) != exitNotMounted {
		return list, err
	}
	rest, err := t.profile.openAtRest(false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rest.close()) }()
	if list, err = versions(rest.index, rest.blobs, r.Path); err != nil || r.Restore == 0 {
		return list, err
	}
	v, err := pick(list, r.Path, r.Restore)
	if err != nil {
		return nil, err
	}
	if v.Content == contentGone {
		return nil, fail(exitFailure, "the service has forgotten version %d of %s, and there is no copy here", v.N, v.Path)
	}
	_, err = rest.index.Restore(v.v)
	return []oldVersion{v}, explainRestore(r.Path, err)
}

// answerHistory lists versions, or brings one back.
func (s *session) answerHistory(ctx context.Context, r control.Request, send func(control.Event) error) error {
	list, err := versions(s.index, s.blobs, r.Path)
	if err == nil && r.Restore > 0 {
		list, err = s.restore(ctx, list, r)
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return send(control.Event{Status: text})
}

// restore makes sure that the version can be read, and that what is there is
// at the service, before it brings it back.
func (s *session) restore(ctx context.Context, list []oldVersion, r control.Request) ([]oldVersion, error) {
	v, err := pick(list, r.Path, r.Restore)
	if err != nil {
		return nil, err
	}
	e, err := s.index.Entity(v.v.UUID)
	if err != nil {
		return nil, fmt.Errorf("version %d of %s: %w", v.N, v.Path, err)
	}
	reader, err := s.transfer.Open(ctx, e)
	if err == nil {
		defer reader.Close()
		err = reader.WaitWhole(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("version %d of %s can't be had: %w", v.N, v.Path, err)
	}
	if d, err := s.index.Resolve(r.Path); err == nil && d.Inode.Staged != 0 {
		if s.transfer.Held(d.Inode.Ino) {
			return nil, explainRestore(r.Path, syscall.EBUSY)
		}
		if err := s.transfer.Wait(ctx, d.Inode.Ino); err != nil {
			return nil, fmt.Errorf("%s, as it is now, could not be uploaded: %w", r.Path, err)
		}
	}
	return []oldVersion{v}, explainRestore(r.Path, s.server.Load().Restore(ctx, v.v))
}

// explainRestore says in words why a version can't be brought back.
func explainRestore(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EBUSY):
		return fail(exitFailure, "%s, as it is now, is not at the service and would be lost: close it, let it be uploaded (chatfs sync), or rename it first", path)
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EINVAL):
		return fail(exitFailure, "%s is something other than a file now: rename it first", path)
	case errors.Is(err, syscall.ENOTDIR):
		return fail(exitFailure, "%s: what was a directory on the way is a file now: rename it first", path)
	}
	return fmt.Errorf("restore %s: %w", path, err)
}

// showVersions prints a list.
func showVersions(w io.Writer, name string, list []oldVersion, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "%s: nothing was overwritten or deleted\n", name)
		return err
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "N\tLAST CHANGED\tREPLACED\tSIZE\tCONTENT\tPATH")
	for _, v := range list {
		fmt.Fprintf(tab, "%d\t%s\t%s\t%s\t%s\t%q\n", v.N, v.Mtime.Format(time.DateTime), v.Replaced.Format(time.DateTime),
			formatSize(v.Size), v.Content, strings.TrimPrefix(v.Path, "/"))
	}
	return tab.Flush()
}
