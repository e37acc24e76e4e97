package service_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chatfs/internal/fusetest"
	"chatfs/remote/service"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("CHATFS_TEST_SERVE"); dir != "" {
		serveUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// serveUntilKilled is a service in a process of its own, perhaps ahead of the
// time; it says its address.
func serveUntilKilled(dir string) {
	c := service.Config{Dir: dir, Org: "org", App: "app"}
	if ahead, err := time.ParseDuration(os.Getenv("CHATFS_TEST_AHEAD")); err == nil {
		c.ExpireAfter, c.Now = ahead/2, func() time.Time { return time.Now().Add(ahead) }
	}
	s, err := service.Start(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.Base())
	select {}
}

// TestKilledServiceKeepsWhatItAnswered kills the service amid uploads. What
// was answered with 200 is there, byte for byte.
func TestKilledServiceKeepsWhatItAnswered(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f := start(t) // makes the credentials
	acknowledged := make(map[string][]byte)
	for range 5 {
		f.stop()
		base, kill := startProcess(t, filepath.Join(f.dir, "data"))
		token := f.token // tokens outlive the process, too
		answered := make(chan struct{}, 1000)
		var mu sync.Mutex
		var writers sync.WaitGroup
		for w := range 4 {
			r := rand.New(rand.NewPCG(random.Uint64(), uint64(w)))
			writers.Go(func() {
				for {
					content := bytes.Repeat([]byte{byte(r.Uint32()), byte(w), byte(r.Uint32())}, 1+r.IntN(40_000))
					uuid, err := post(base, token, content)
					if err != nil {
						return
					}
					mu.Lock()
					acknowledged[uuid] = content
					mu.Unlock()
					select {
					case answered <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 1 + random.IntN(50) {
			<-answered
		}
		kill()
		writers.Wait()
		f.restart()
	}
	for uuid, want := range acknowledged {
		if got, err := download(f.service.Base(), f.token, uuid); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d: %v", uuid, len(got), len(want), err)
		}
	}
	t.Logf("5 kills, %d uploads verified", len(acknowledged))
}

func startProcess(t *testing.T, dir string, env ...string) (base string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "CHATFS_TEST_SERVE="+dir), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	base, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the process says no address: %v", err)
	}
	return strings.TrimSpace(base), func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// client makes a connection a request, so that none outlives a test.
var client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func post(base, token string, content []byte) (uuid string, err error) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	file, err := w.CreateFormFile("file", "a")
	if err != nil {
		return "", err
	}
	file.Write(content)
	w.Close()
	req, err := http.NewRequest(http.MethodPost, base+"/chatfiles", &form)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	body, err := do(req, token)
	_, rest, _ := strings.Cut(string(body), `"uuid":"`)
	if err == nil && len(rest) < 36 {
		return "", fmt.Errorf("no uuid in %d bytes", len(body))
	}
	return rest[:min(36, len(rest))], err
}

func download(base, token, uuid string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, base+"/chatfiles/"+uuid, nil)
	if err != nil {
		return nil, err
	}
	return do(req, token)
}

func do(req *http.Request, token string) ([]byte, error) {
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return body, err
}

// dial sends the head of an upload of 1,000 bytes, and its first half, and
// returns once the service works on it.
func (f *fixture) dial() net.Conn {
	f.Helper()
	before := f.service.Counts().Requests
	host := strings.TrimSuffix(strings.TrimPrefix(f.service.Base(), "http://"), "/org/app")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST /org/app/chatfiles HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n",
		f.token, len(uploadHead)+1000+len(uploadTail))
	fmt.Fprint(conn, uploadHead+strings.Repeat("x", 500))
	fusetest.Eventually(f.T, "the request", func() error {
		if f.service.Counts().Requests == before {
			return errors.New("not begun")
		}
		return nil
	})
	return conn
}

const (
	uploadHead = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
	uploadTail = "\r\n--B--\r\n"
)

// TestSlowClientsAreLeft sends half an upload and no more.
func TestSlowClientsAreLeft(t *testing.T) {
	f := start(t, func(c *service.Config) { c.Patience = 50 * time.Millisecond })
	conn := f.dial()
	conn.SetReadDeadline(time.Now().Add(fusetest.Patience))
	answer, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(answer), " 200 ") {
		t.Errorf("the answer is %q, %v, want the connection's end without success", answer, err)
	}
}

// TestSlowReadersAreLeft takes nothing of an answer that no buffer holds.
func TestSlowReadersAreLeft(t *testing.T) {
	large := func(c *service.Config) { c.MaxSize = 64 << 20 }
	f := start(t, large)
	const size = 32 << 20
	uuid, err := post(f.service.Base(), f.token, make([]byte, size)) // a busy machine is slow at it
	if err != nil {
		t.Fatal(err)
	}
	f.stop()
	f.restart(large, func(c *service.Config) { c.Patience = 50 * time.Millisecond })
	host := strings.TrimSuffix(strings.TrimPrefix(f.service.Base(), "http://"), "/org/app")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /org/app/chatfiles/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", uuid, f.token)
	conn.SetReadDeadline(time.Now().Add(fusetest.Patience))
	_, err = conn.Read(make([]byte, 1)) // the answer has begun: the file is open
	must(t, err)
	fusetest.Eventually(t, "the end of the answer", func() error {
		if n := descriptorsOf(t, filepath.Join(f.dir, "data", "files")); n > 0 {
			return fmt.Errorf("%d files are open", n)
		}
		return nil
	})
	conn.SetReadDeadline(time.Now().Add(fusetest.Patience))
	if n, err := io.Copy(io.Discard, conn); n >= size || err != nil && os.IsTimeout(err) {
		t.Errorf("%d bytes came (%v), want less than the %d of the file", n, err, size)
	}
}

// descriptorsOf counts this process's open files below dir.
func descriptorsOf(t *testing.T, dir string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, fd := range fds {
		if path, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(path, dir+"/") {
			n++
		}
	}
	return n
}

// TestShutdownLetsRequestsEnd begins to shut down amid an upload, which then
// ends well.
func TestShutdownLetsRequestsEnd(t *testing.T) {
	f := start(t)
	conn := f.dial()
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fusetest.Patience)
		defer cancel()
		ended <- f.service.Shutdown(ctx)
	}()
	for refused := false; !refused; { // the listener closes first
		other, err := net.Dial("tcp", conn.RemoteAddr().String())
		if refused = err != nil; !refused {
			other.Close()
		}
	}
	fmt.Fprint(conn, strings.Repeat("x", 500)+uploadTail)
	status, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(status, " 200 ") {
		t.Errorf("the upload is answered with %q, %v", status, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	f.restart()
}

func TestDataIsServedOnce(t *testing.T) {
	f := start(t)
	_, err := service.Start(service.Config{Dir: filepath.Join(f.dir, "data"), Org: "org", App: "app"})
	if err == nil || !strings.Contains(err.Error(), service.ErrInUse.Error()) {
		t.Errorf("a second service on the same data: %v", err)
	}
}

func TestBoundsOfARequest(t *testing.T) {
	f := start(t)
	f.put("a.txt", []byte("text"))
	many := strings.Repeat(" -F x=y", 40)
	f.wantError("illegal_argument", 400, many+` -F file=@a.txt $BASE/chatfiles`)
	out := f.sh(`curl -sS -o /dev/null -w '%{http_code}' -H "X-Large: $(head -c 100000 /dev/zero | tr '\0' x)" $BASE/chatfiles`)
	if out != strconv.Itoa(http.StatusRequestHeaderFieldsTooLarge) {
		t.Errorf("headers of 100 kB are answered with %s", out)
	}
}

func TestCredentialsArePrivate(t *testing.T) {
	f := start(t)
	info, err := os.Stat(f.service.CredentialsFile())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the credentials' file: %v, %v", info, err)
	}
}
