package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/adrg/xdg"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"chatfs/internal/entity"
	"chatfs/remote"
	"chatfs/remote/service"
)

// loginPatience bounds the proof of the credentials at start: a mount has to
// come up without a network too.
const loginPatience = 4 * time.Second

// serviceFlags choose the service and how to speak to it.
type serviceFlags struct {
	remote       string
	doubtful     string // remote, if nobody but a backup has named it
	insecureHTTP bool
	caCert       string
	maxRPS       float64
	patience     time.Duration // with a service that asks to slow down; 0 is the default
}

func (o *serviceFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.remote, "remote", "", "the service's `address`, https://HOST/ORG/APP (default: the embedded service)")
	f.BoolVar(&o.insecureHTTP, "insecure-http", false, "speak plain http to another machine: credentials and files can be read on the way")
	f.StringVar(&o.caCert, "ca-cert", "", "`file` of certificates (PEM) to trust besides the system's")
	f.Float64Var(&o.maxRPS, "max-rps", 0, "most requests a second to the service, up and down together; fewer where it takes fewer (default: 100; the embedded service: no limit)")
}

func (o *serviceFlags) check() error {
	if o.maxRPS < 0 {
		return fail(exitUsage, "--max-rps %g: not below zero", o.maxRPS)
	}
	if o.caCert != "" {
		if _, err := os.Stat(o.caCert); err != nil {
			return fail(exitUsage, "--ca-cert: %w", err)
		}
	}
	return o.checkAddress()
}

// checkAddress asks the client whether it would take the address, before
// anything is looked for or made.
func (o *serviceFlags) checkAddress() error {
	if o.remote == "" {
		return nil
	}
	client, err := remote.New(remote.Config{Base: o.remote, InsecureHTTP: o.insecureHTTP, CACert: o.caCert,
		Token: entity.NewSecret("none yet")})
	if err != nil {
		return fail(exitUsage, "--remote %s: %w", redact(o.remote), err)
	}
	return client.Close()
}

// endpoint is the service that a command speaks to.
type endpoint struct {
	name     string // its address, or embedded
	base     string
	client   *remote.Client
	embedded *service.Service // nil but for the embedded one
	creds    credentials
}

// loginPath is where chatfs login keeps what it was told.
func loginPath(profile string) string {
	name := "login.toml"
	if profile != "" {
		name = "login-" + profile + ".toml"
	}
	return filepath.Join(xdg.ConfigHome, "chatfs", name)
}

// chooseRemote completes the service's address from the login, and answers
// the login's layer if its credentials are meant for that address.
func (o *serviceFlags) choose(set *settings, profile string) error {
	stored, err := readConfigFile(loginPath(profile), map[string]bool{"remote": true,
		"token": true, "client-id": true, "client-secret": true, "username": true, "password": true})
	if err != nil || stored == nil {
		return err
	}
	address, _ := stored["remote"].(string)
	if o.remote == "" {
		o.remote = address
		set.origins["remote"] = "chatfs login"
	}
	if strings.TrimSuffix(o.remote, "/") == strings.TrimSuffix(address, "/") {
		set.layers = append(set.layers, layer{"chatfs login", stored})
	}
	return nil
}

// connect makes the client for a service elsewhere. Nothing is sent.
func (o *serviceFlags) connect(set *settings, log *logrus.Logger) (*endpoint, error) {
	creds, err := pickCredentials(set.layers)
	if err != nil {
		return nil, err
	}
	if creds.kind == "" {
		return nil, fail(exitCredentials, "no credentials for %s: set CHATFS_TOKEN, or CHATFS_CLIENT_ID and CHATFS_CLIENT_SECRET, or CHATFS_USERNAME and CHATFS_PASSWORD, or run chatfs login", o.remote)
	}
	conf := remote.Config{Base: o.remote, InsecureHTTP: o.insecureHTTP, CACert: o.caCert,
		MaxRPS: o.maxRPS, Patience: o.patience, Version: version(), Log: log.WithField("area", "remote")}
	creds.fill(&conf)
	client, err := remote.New(conf)
	if err != nil {
		return nil, fail(exitUsage, "--remote %s: %w", redact(o.remote), err)
	}
	return &endpoint{name: o.remote, base: o.remote, client: client, creds: creds}, nil
}

// redact leaves a password out of an address that has one.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(no address)"
	}
	return u.Redacted()
}

// unlimited is the rate that the embedded service is asked at: it takes what
// comes.
const unlimited = -1

// startEmbedded starts the embedded service on a loopback port and makes its
// client.
func (o *serviceFlags) startEmbedded(stateDir string, log *logrus.Logger) (*endpoint, error) {
	served, err := startOnItsPort(service.Config{Dir: filepath.Join(stateDir, "embedded"), Org: "chatfs", App: "embedded",
		Closed: true, LoopbackOnly: true, Log: log.WithField("area", "service")})
	if err != nil {
		return nil, fmt.Errorf("embedded service: %w", err)
	}
	rps := o.maxRPS
	if rps == 0 {
		rps = unlimited
	}
	id, secret := served.Credentials()
	client, err := remote.New(remote.Config{Base: served.Base(), ClientID: id, ClientSecret: secret,
		MaxRPS: rps, Patience: o.patience, Version: version(), Log: log.WithField("area", "remote")})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded service: %w", err), served.Shutdown(context.Background()))
	}
	return &endpoint{name: embedded, base: served.Base(), client: client, embedded: served}, nil
}

// portFile is where the embedded service's data has the port that it had last,
// so that the addresses of its files stay.
const portFile = "port"

// startOnItsPort starts the service on the port that it had, or another if that
// is taken.
func startOnItsPort(c service.Config) (*service.Service, error) {
	path := filepath.Join(c.Dir, portFile)
	kept, err := os.ReadFile(path)
	if port, bad := strconv.ParseUint(strings.TrimSpace(string(kept)), 10, 16); err == nil && bad == nil && port > 0 {
		c.Listen = net.JoinHostPort("127.0.0.1", strconv.FormatUint(port, 10))
	}
	served, err := service.Start(c)
	if errors.Is(err, syscall.EADDRINUSE) {
		c.Log.Warnf("the embedded service's port is taken (%s): it takes another, and its files' addresses change", c.Listen)
		c.Listen = ""
		served, err = service.Start(c)
	}
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(served.Base())
	if err == nil && base.Port() != strings.TrimSpace(string(kept)) {
		err = os.WriteFile(path, []byte(base.Port()+"\n"), 0o600)
	}
	if err != nil {
		c.Log.WithError(err).Warn("the embedded service's port could not be kept: its files' addresses change with the next mount")
	}
	return served, nil
}

// login proves the credentials. A service that can't be reached is no error
// but a warning: the tree works without.
func (e *endpoint) login(ctx context.Context) (warning string, err error) {
	ctx, cancel := context.WithTimeout(ctx, loginPatience)
	defer cancel()
	err = e.client.Login(ctx)
	switch {
	case err == nil:
		return "", nil
	case errors.Is(err, remote.ErrUnauthorized), errors.Is(err, remote.ErrForbidden):
		return "", fail(exitCredentials, "%s refused the credentials (%s, from %s): %w", e.name, e.creds, e.creds.origin, err)
	case errors.Is(err, remote.ErrNotFound):
		return "", fail(exitUsage, "%s: the service knows no such org and app: %w", e.name, err)
	case unreachable(err):
		return fmt.Sprintf("%s can't be reached now (%v): what is here works, uploads wait", e.name, innermost(err)), nil
	}
	return "", fail(exitCredentials, "%s refused the credentials (%s, from %s): %w", e.name, e.creds, e.creds.origin, err)
}

// innermost is the network's part of an error, without the request's.
func innermost(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op
	}
	return err
}

// unreachable tells whether trying again later may help.
func unreachable(err error) bool {
	var netErr net.Error
	return remote.Temporary(err) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr)
}

// close ends the client and the embedded service.
func (e *endpoint) close() error {
	err := e.client.Close()
	if e.embedded != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = errors.Join(err, e.embedded.Shutdown(ctx))
	}
	return err
}

// fsName is what df and mount show: without a colon, which would make df
// take the mount for a remote one.
func fsName(name string) string {
	if name == embedded {
		return "chatfs-embedded"
	}
	if u, err := url.Parse(name); err == nil {
		name = u.Hostname() + u.Path
	}
	return strings.ReplaceAll(name, ":", "_")
}
