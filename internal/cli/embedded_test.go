package cli_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/xattr"
)

// TestEmbeddedServiceIsForItsMountAlone: nobody registers, no page asks, no other
// name leads to it; and its files' addresses stay, unless the port is taken.
func TestEmbeddedServiceIsForItsMountAlone(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	address := func() *url.URL {
		p.put("a.txt", "hello")
		p.sync()
		text, err := xattr.Get(p.dir+"/a.txt", "user.chatfs.url")
		u, bad := url.Parse(string(text))
		if err != nil || bad != nil {
			t.Fatal(err, bad)
		}
		return u
	}
	r := p.mount("--settle", "0s")
	first := address()
	base := first.Scheme + "://" + first.Host + "/chatfs/embedded"
	for name, change := range map[string]func(*http.Request){
		"a registration": func(*http.Request) {},
		"a page":         func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"another name":   func(r *http.Request) { r.Host = "evil.example" },
	} {
		req, _ := http.NewRequest("POST", base+"/users", strings.NewReader(`{"username":"eve","password":"pw"}`))
		change(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 && resp.StatusCode != 403 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")
	r = p.mount("--settle", "0s")
	if again := address(); again.String() != first.String() {
		t.Errorf("the address was %s, and is %s after a mount", first, again)
	}
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")
	taken, err := net.Listen("tcp", first.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r = p.mount("--settle", "0s")
	if other := address(); other.Host == first.Host {
		t.Error("two listen on one port")
	}
	r.signal(syscall.SIGTERM)
	r.wait(ok, "port is taken")
}
