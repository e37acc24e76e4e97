package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"chatfs/remote/service"
)

// serveOptions are the flags of chatfs serve.
type serveOptions struct {
	listen, data, org, app string
	tlsCert, tlsKey        string
	maxSize, quota         byteSize
	expireAfter            time.Duration
	rps                    float64
	historyRPM             int
	faults                 string
	seed                   uint64
	registration           choice
	cors                   []string
	falseIsOpen            bool
	logLevel               choice
}

func newServe() *cobra.Command {
	o := &serveOptions{maxSize: 10 << 20, registration: choice{"closed", []string{"open", "closed"}}, logLevel: choice{"info", []string{"debug", "info", "warning", "error"}}}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service alone, for other programs and for tests",
		Long: `Serve the chatfiles REST API: users, tokens, files, thumbnails, and the history
of messages that carry them. It listens on
loopback unless told otherwise, keeps its data between runs, and prints its
address. The app's own credentials are in a file (0600) in the data directory.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := loadSettings(cmd); err != nil {
				return err
			}
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	f.StringVar(&o.data, "data", "", "data `directory` (default: serve in the state directory)")
	f.StringVar(&o.org, "org", "demo", "organization, the first part of the path")
	f.StringVar(&o.app, "app", "chatfs", "app, the second part of the path")
	f.StringVar(&o.tlsCert, "tls-cert", "", "certificate `file` (PEM), for https")
	f.StringVar(&o.tlsKey, "tls-key", "", "its key's `file` (PEM)")
	f.Var(&o.maxSize, "max-size", "largest file taken")
	f.Var(&o.quota, "quota", "most that all files may take; 0 is any number")
	f.DurationVar(&o.expireAfter, "expire-after", 0, "age at which files expire; 0 is never")
	f.Float64Var(&o.rps, "rps", 0, "requests a second that are let through; 0 is any number")
	f.IntVar(&o.historyRPM, "history-rpm", 0, "calls a minute for the message history; 0 is any number")
	f.Var(&o.registration, "registration", "open: whoever reaches the service may register, and keep files in it")
	f.StringSliceVar(&o.cors, "cors", nil, "`origins` of web pages that may ask, as https://chat.example; * is any (default: none)")
	f.BoolVar(&o.falseIsOpen, "restrict-false-is-open", false, "an upload's restrict-access: false does not restrict, as newer documents have it")
	f.StringVar(&o.faults, "faults", "", "faults to inject, for tests (see docs/operations.md)")
	f.Uint64Var(&o.seed, "faults-seed", 0, "seed of the faults' chance; 0 draws one")
	f.Var(&o.logLevel, "log-level", "what is logged")
	return cmd
}

func (o *serveOptions) config(cmd *cobra.Command) (service.Config, error) {
	faults, err := o.parseFaults(cmd)
	if err != nil {
		return service.Config{}, err
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return service.Config{}, fail(exitUsage, "--tls-cert and --tls-key belong together")
	}
	if o.data == "" {
		o.data = filepath.Join(stateRoot(), "serve")
	}
	log := newLogger(cmd.ErrOrStderr(), o.logLevel.value)
	return service.Config{Dir: o.data, Org: o.org, App: o.app, Listen: o.listen, TLSCert: o.tlsCert, TLSKey: o.tlsKey,
		MaxSize: int64(o.maxSize), Quota: int64(o.quota), ExpireAfter: o.expireAfter, RPS: o.rps, HistoryRPM: o.historyRPM, Faults: faults,
		Closed: o.registration.value == "closed", Origins: o.cors, FalseIsOpen: o.falseIsOpen,
		Log: logrus.NewEntry(log)}, nil
}

// credentialsFile is where the service keeps the app's own, in its data.
const credentialsFile = "credentials.json"

// parseFaults reads --faults; without a seed it draws one, and tells it, so
// that the run can be repeated.
func (o *serveOptions) parseFaults(cmd *cobra.Command) (*service.Faults, error) {
	if o.faults == "" {
		return nil, nil
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	faults, err := service.ParseFaults(o.faults, o.seed)
	if err != nil {
		return nil, fail(exitUsage, "--faults: %w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "chatfs: faults are injected, with --faults-seed %d\n", o.seed)
	return faults, nil
}

// shutdownPatience is what requests have to end.
const shutdownPatience = 10 * time.Second

func (o *serveOptions) run(cmd *cobra.Command) error {
	conf, err := o.config(cmd)
	if err != nil {
		return err
	}
	if err := ownDir(o.data); err != nil {
		return fail(exitProfile, "--data: %w", err)
	}
	outliveReaders()
	signals, stop := endSignals()
	defer stop()
	s, err := service.Start(conf)
	if err != nil {
		return err
	}
	if o.tlsCert == "" && !strings.HasPrefix(s.Base(), "http://127.") && !strings.HasPrefix(s.Base(), "http://[::1]") {
		fmt.Fprintln(cmd.ErrOrStderr(), "chatfs: warning: plain http beyond this machine: whoever is on the way reads credentials and files; use --tls-cert and --tls-key")
	}
	id, _ := s.Credentials()
	fmt.Fprintf(cmd.OutOrStdout(), "Serving %s\n  client id %s (its secret is in %s)\n  stop      Ctrl-C\n", s.Base(), id, filepath.Join(o.data, credentialsFile))
	select {
	case <-signals:
	case <-cmd.Context().Done():
	}
	stop() // a second signal ends at once
	grace, cancel := context.WithTimeout(context.Background(), shutdownPatience)
	defer cancel()
	err = s.Shutdown(grace)
	if met := s.Counts().Faults; len(met) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "Faults %v\n", met)
	}
	return err
}
