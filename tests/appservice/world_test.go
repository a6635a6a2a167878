// Package appservice tests the real program with application services that speak HTTP to it as bridges do.
package appservice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

type m = matrixclient.J

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// bridge is an application service: it keeps what it is sent, once for each transaction id.
type bridge struct {
	t       testing.TB
	id      string
	url     string
	asToken string
	hsToken string

	mu       sync.Mutex
	changed  chan struct{} // closed when something came
	status   int           // of answers to transactions; 0: the connection is cut
	order    []string      // of transaction ids
	bodies   map[string]string
	attempts map[string]int
	answers  map[string]func() (int, string) // of other requests, by the escaped path; status 0 cuts the connection
	asked    []string                        // other requests: method, path and query
	wrong    []string                        // what was not as the specification has it
}

// newBridge starts an application service.
func newBridge(t testing.TB, id string) *bridge {
	t.Helper()
	b := &bridge{t: t, id: id, asToken: "as_" + id + "_secret", hsToken: "hs_" + id + "_secret", status: 200, changed: make(chan struct{}),
		bodies: map[string]string{}, attempts: map[string]int{}, answers: map[string]func() (int, string){}}
	s := httptest.NewServer(http.HandlerFunc(b.serve))
	b.url = s.URL
	t.Cleanup(func() {
		s.Close()
		for _, w := range b.wrong {
			t.Error(w)
		}
	})
	return b
}

func (b *bridge) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	if r.Header.Get("Authorization") != "Bearer "+b.hsToken {
		b.wrong = append(b.wrong, "a request without the hs_token: "+r.URL.Path)
	}
	status, answer := b.take(r, string(body))
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

// take keeps a transaction, or answers another request. The lock is held.
func (b *bridge) take(r *http.Request, body string) (int, string) {
	txn, ok := strings.CutPrefix(r.URL.Path, "/_matrix/app/v1/transactions/")
	if !ok || r.Method != http.MethodPut {
		b.asked = append(b.asked, r.Method+" "+r.URL.RequestURI())
		if f := b.answers[r.URL.EscapedPath()]; f != nil {
			b.mu.Unlock()
			defer b.mu.Lock()
			return f()
		}
		return http.StatusNotFound, `{"errcode":"M_NOT_FOUND","error":"no"}`
	}
	b.attempts[txn]++
	if before, known := b.bodies[txn]; known && before != body {
		b.wrong = append(b.wrong, fmt.Sprintf("transaction %s was sent again with another body:\n%s\n%s", txn, before, body))
	} else if !known && b.status/100 == 2 {
		b.order = append(b.order, txn)
	}
	if n := gjson.Get(body, "events.#").Int(); n > 100 {
		b.wrong = append(b.wrong, fmt.Sprintf("transaction %s has %d events", txn, n))
	}
	if b.status/100 == 2 {
		b.bodies[txn] = body
	}
	return b.status, "{}"
}

// answer has the path, as it stands in the request, answered so.
func (b *bridge) answer(path string, f func() (int, string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[path] = f
}

// respond sets the status of answers to transactions; 0 cuts the connection.
func (b *bridge) respond(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = status
}

// got is everything of one kind that came, in order.
func (b *bridge) got(kind string) []gjson.Result {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []gjson.Result
	for _, txn := range b.order {
		all = append(all, gjson.Get(b.bodies[txn], gjson.Escape(kind)).Array()...)
	}
	return all
}

// until waits for a condition on what came.
func (b *bridge) until(what string, is func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		if is() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("%s: not within %v; %d transactions came, the last: %.2000s", what, patience, len(b.order), b.bodies[last(b.order)])
		}
	}
}

func last(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// has reports whether an event with this id came.
func (b *bridge) has(eventID string) bool {
	for _, e := range b.got("events") {
		if e.Get("event_id").Str == eventID {
			return true
		}
	}
	return false
}

// register writes the registration into a folder, with further lines.
func (b *bridge) register(folder, namespaces string, more ...string) {
	b.t.Helper()
	text := fmt.Sprintf("id: %s\nurl: %s\nas_token: %s\nhs_token: %s\nsender_localpart: _%s_bot\nrate_limited: false\nnamespaces: %s\n%s\n",
		b.id, b.url, b.asToken, b.hsToken, b.id, namespaces, strings.Join(more, "\n"))
	if err := os.WriteFile(filepath.Join(folder, b.id+".yaml"), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// ghosts are the namespaces of a bridge with users of its own.
func (b *bridge) ghosts() string {
	return fmt.Sprintf("{users: [{exclusive: true, regex: '@_%s_.*'}], aliases: [{exclusive: true, regex: '#_%s_.*'}]}", b.id, b.id)
}

// world is a server, somebody who asks it, and the folder of registrations.
type world struct {
	t      *testing.T
	ctx    context.Context
	folder string
	server *binary.Server
	url    string // the same after it was killed and started again
}

// begin starts a server on the registrations in the folder.
func begin(t *testing.T, folder string, set ...string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	server := binary.Start(t, append(set, "appservices="+folder)...)
	return &world{t: t, ctx: ctx, folder: folder, server: server, url: server.URL}
}

// user registers a person.
func (w *world) user(name string) *matrixclient.Client {
	w.t.Helper()
	c, err := (&matrixclient.Client{URL: w.url, HTTP: http.DefaultClient}).Register(w.ctx, name, "a password")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// call asks as an application service. user may be empty, for its own.
func (w *world) call(b *bridge, method, path, user string, body any) (gjson.Result, error) {
	w.t.Helper()
	c := &matrixclient.Client{URL: w.url, HTTP: http.DefaultClient, Token: b.asToken}
	if user != "" {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "user_id=" + url.QueryEscape(user)
	}
	return c.Do(w.ctx, method, path, body)
}

// must is call of what must succeed.
func (w *world) must(b *bridge, method, path, user string, body any) gjson.Result {
	w.t.Helper()
	answer, err := w.call(b, method, path, user, body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// ghost registers a user of the application service.
func (w *world) ghost(b *bridge, name string) string {
	w.t.Helper()
	return w.must(b, "POST", "/register", "", m{"type": "m.login.application_service", "username": name, "inhibit_login": true}).Get("user_id").Str
}

// ok fails the test on an error.
func ok[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused expects a refusal with this status and errcode.
func refused(t testing.TB, what string, err error, status int, code string) {
	t.Helper()
	var no *matrixclient.Refusal
	if !errors.As(err, &no) || no.Status != status || no.Code != code {
		t.Errorf("%s: %v, not %d %s", what, err, status, code)
	}
}

// raw asks with any path.
func (w *world) raw(token, method, path string, body any) (int, gjson.Result) {
	w.t.Helper()
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		reader = strings.NewReader(string(text))
	}
	r, err := http.NewRequestWithContext(w.ctx, method, w.url+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, gjson.ParseBytes(text)
}

// run runs a command of the program on the server's data, and gives what it prints.
func (w *world) run(args ...string) string {
	w.t.Helper()
	said, err := w.try(args...)
	if err != nil {
		w.t.Fatalf("%v: %v\n%s", args, err, said)
	}
	return said
}

// try is run of what may fail.
func (w *world) try(args ...string) (string, error) {
	w.t.Helper()
	args = append(args, "--set", "data_dir="+w.server.DataDir(), "--set", "appservices="+w.folder)
	said, err := exec.CommandContext(w.ctx, binary.Program(w.t), args...).CombinedOutput() //nolint:gosec // the program that was just built
	return string(said), err
}
