// Package media tests files on real servers: a node alone, and several that share a database or a bucket.
package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// files are what one person does with files, through one node.
type files struct {
	t   *testing.T
	url string
	matrixclient.Client
}

func register(t *testing.T, url, name string) *files {
	t.Helper()
	f := &files{t, url, matrixclient.Client{URL: url, HTTP: http.DefaultClient}}
	answer, err := f.Do(t.Context(), http.MethodPost, "/register", matrixclient.J{
		"username": name, "password": "a good password", "auth": matrixclient.J{"type": "m.login.dummy"}})
	if err != nil {
		t.Fatal(err)
	}
	f.Token = answer.Get("access_token").Str
	return f
}

// at is the same person at another node.
func (f *files) at(url string) *files { return &files{f.t, url, f.Client} }

func (f *files) do(method, path string, body io.Reader, size int64) *http.Response {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if r.ContentLength = size; size < 0 {
		r.ContentLength = -1
	}
	r.Header.Set("Authorization", "Bearer "+f.Token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp
}

func (f *files) upload(body io.Reader, size int64) string {
	f.t.Helper()
	resp := f.do(http.MethodPost, "/_matrix/media/v3/upload", body, size)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		f.t.Fatalf("upload: %s %s %v", resp.Status, raw, err)
	}
	return strings.TrimPrefix(gjson.GetBytes(raw, "content_uri").Str, "mxc://")
}

// download gives the status and the SHA-256 of what comes.
func (f *files) download(name string) (int, [32]byte) {
	f.t.Helper()
	resp := f.do(http.MethodGet, "/_matrix/client/v1/media/download/"+name, nil, 0)
	defer resp.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, resp.Body); err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, [32]byte(h.Sum(nil))
}

// stream is a file of some size that is nowhere.
type stream struct {
	left, next int64
	hash       hash.Hash
}

func newStream(size int64) *stream { return &stream{left: size, hash: sha256.New()} }

func (s *stream) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.left))
	for i := range p[:n] { // every 256 bytes are others
		p[i] = byte(s.next) ^ byte(s.next>>8) ^ byte(s.next>>16)
		s.next++
	}
	s.left -= int64(n)
	s.hash.Write(p[:n])
	return n, nil
}

func (s *stream) sum() [32]byte { return [32]byte(s.hash.Sum(nil)) }

// peak is the most memory that a process has had, in bytes.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("the system does not tell the memory of a process")
	return 0
}

// TestLargeFiles: a file takes the same memory whatever its size, and a server that is killed while one comes forgets it, but none that came.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	const size = 192 << 20
	s := binary.Start(t, "media.max_upload=1GiB")
	ann := register(t, s.URL, "ann")
	ann.upload(newStream(1<<20), 1<<20)
	before := peak(t, s.PID())
	known, unknown := newStream(size), newStream(size)
	first, second := ann.upload(known, size), ann.upload(unknown, -1)
	for name, want := range map[string][32]byte{first: known.sum(), second: unknown.sum()} {
		if status, got := ann.download(name); status != http.StatusOK || got != want {
			t.Errorf("download: %d", status)
		}
	}
	const slack = 48 << 20 // of everything else that a server does
	if after := peak(t, s.PID()); after-before > slack {
		t.Errorf("%d MiB more memory for files of %d MiB", (after-before)>>20, size>>20)
	}

	half, ended := newStream(size), make(chan struct{})
	go func() {
		defer close(ended)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/_matrix/media/v3/upload", io.MultiReader(io.LimitReader(half, size/4), blocked(t.Context())))
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Authorization", "Bearer "+ann.Token)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
			t.Errorf("half a file was taken: %s", resp.Status)
		}
	}()
	waitFor(t, "half a file", func() bool {
		unfinished, err := filepath.Glob(filepath.Join(s.DataDir(), "media", "unfinished", "*"))
		return err == nil && len(unfinished) > 0
	})
	s.Kill()
	<-ended
	s.Run()
	if status, got := ann.at(s.URL).download(first); status != http.StatusOK || got != known.sum() {
		t.Errorf("after the kill: %d", status)
	}
}

// blocked gives nothing until the context ends.
func blocked(ctx context.Context) io.Reader {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	return r
}

func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ticker := time.NewTicker(10 * time.Millisecond); !there(); {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// TestNodesShareFiles: what one node has taken, all nodes give; first from the database, then from a bucket.
func TestNodesShareFiles(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	consul, err := local.StartConsul(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consul.Stop)
	postgres, err := local.StartPostgres(ctx, filepath.Join(dir, "postgres"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(postgres.Stop)
	s3, err := local.StartS3(ctx, filepath.Join(dir, "s3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s3.Stop)
	bucket := []string{"media.s3.endpoint=" + s3.URL, "media.s3.bucket=" + s3.Bucket, "media.s3.access_key=" + s3.AccessKey, "media.s3.secret_key=" + s3.SecretKey}
	start := func(name string, settings ...string) *local.Node {
		t.Helper()
		n, err := local.NewNode(local.NodeOptions{Name: name, Program: binary.Program(t), Dir: filepath.Join(dir, name), Secret: "the secret of the test",
			Postgres: postgres.URL(postgres.Address, "matrixon"), Consul: consul.Address,
			Settings: append([]string{"limits.enabled=false", "registration.open=true", "password_hash.memory_kib=64", "password_hash.iterations=1"}, append(bucket, settings...)...)})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(ctx); err != nil {
			t.Fatalf("%v: %s", err, n.Process().Log())
		}
		t.Cleanup(n.Stop)
		return n
	}
	a, b := start("a"), start("b")
	ann := register(t, a.URL, "ann")
	content := map[string][32]byte{}
	share := func(from, to *local.Node, size int64) {
		t.Helper()
		file := newStream(size)
		name := ann.at(from.URL).upload(file, size)
		content[name] = file.sum()
		if status, got := ann.at(to.URL).download(name); status != http.StatusOK || got != file.sum() {
			t.Errorf("from %s at %s: %d", from.Name, to.Name, status)
		}
	}
	share(a, b, 3_000_000)
	share(b, a, 10)

	// Someone waits at one node for what comes to the other.
	resp := ann.do(http.MethodPost, "/_matrix/media/v1/create", nil, 0)
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(gjson.GetBytes(raw, "content_uri").Str, "mxc://")
	waiting := make(chan [32]byte)
	go func() {
		_, sum := ann.at(b.URL).download(name)
		waiting <- sum
	}()
	if resp := ann.do(http.MethodPut, "/_matrix/media/v3/upload/"+name, bytes.NewReader([]byte("later")), 5); resp.StatusCode != http.StatusOK {
		t.Fatalf("put: %s", resp.Status)
	}
	if got := <-waiting; got != sha256.Sum256([]byte("later")) {
		t.Error("the wrong content came")
	}
	content[name] = sha256.Sum256([]byte("later"))

	// While both run, the files move into the bucket. Then the nodes give them but take none.
	b.Stop()
	command := exec.CommandContext(ctx, binary.Program(t), "media", "move", "--to", "s3") //nolint:gosec // the program that was just built
	for _, setting := range append(bucket, "data_dir="+b.Dir, "storage="+postgres.URL(postgres.Address, "matrixon")) {
		command.Args = append(command.Args, "--set", setting)
	}
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range content {
		if status, got := ann.download(name); status != http.StatusOK || got != want {
			t.Errorf("%s after the move: %d", name, status)
		}
	}
	if resp := ann.do(http.MethodPost, "/_matrix/media/v3/upload", strings.NewReader("x"), 1); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("an upload into the old store: %s", resp.Status)
	}
	a.Stop()
	a, b = start("a", "media.store=s3"), start("b", "media.store=s3")
	for name, want := range content {
		if status, got := ann.at(b.URL).download(name); status != http.StatusOK || got != want {
			t.Errorf("%s in the bucket: %d", name, status)
		}
	}
	share(a, b, 2_000_000)
}
