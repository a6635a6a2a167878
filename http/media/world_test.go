package media_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/hub"
	"github.com/matrixon/matrixon/actors/user"
	usermedia "github.com/matrixon/matrixon/actors/user/media"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/http/media/picture"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/blobs/folder"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

const serverName = "example.org"

// world is a server with a content repository.
type world struct {
	t     *testing.T
	rows  persistence.Store
	blobs blobs.Store
	media *media.Repository
	url   string
	now   time.Time
	mu    sync.Mutex
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// start makes a world; change adjusts the options.
func start(t *testing.T, change func(*media.Options)) *world {
	t.Helper()
	return startLimited(t, nil, change)
}

// startLimited is start with limits of requests.
func startLimited(t *testing.T, rates map[api.Limit]api.Rate, change func(*media.Options)) *world {
	t.Helper()
	w := &world{t: t, rows: memory.New(memory.Options{}), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	node := cluster.NewNode(cluster.Options{Name: "a", Logger: log})
	t.Cleanup(func() {
		if err := node.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := w.rows.Close(); err != nil {
			t.Error(err)
		}
	})
	h := hub.New(node)
	w.rows.Follow(h.Publish)
	if err := node.Register(cluster.Kind{Name: cluster.KindUser, Bound: 100, New: user.New(user.Deps{
		Store: w.rows, Hub: h, Now: w.time, Log: log}, usermedia.Handlers()...)}); err != nil {
		t.Fatal(err)
	}
	files, err := folder.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := media.Options{ServerName: serverName, Rows: w.rows, Blobs: files, Caller: node, Now: w.time, Log: log,
		MaxUpload: 10 << 20, MaxRemote: 1 << 20, MostPending: 3, PendingLifetime: time.Hour,
		Pictures: picture.NewWorkshop(picture.Limits{MaxPixels: 4_000_000, Memory: 64 << 20})}
	if change != nil {
		change(&o)
	}
	w.blobs = o.Blobs
	w.media = media.New(o)
	tokens := api.NewTokens(api.TokensOptions{Store: w.rows, Now: w.time, Remember: time.Minute})
	t.Cleanup(tokens.Close)
	limits := api.NewLimits(rates, w.time)
	t.Cleanup(limits.Close)
	a := api.New(api.Options{Auth: tokens, Limits: limits, Log: log, Now: w.time})
	a.Add(api.Media, w.media.Endpoints()...)
	server := httptest.NewServer(a.Handler(api.Media))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// someone is a user with a session, or nobody.
type someone struct {
	w         *world
	id, token string
}

func (w *world) user(name string) someone {
	w.t.Helper()
	u := someone{w, "@" + name + ":" + serverName, secret.New(secret.Access)}
	w.write(
		schema.Accounts.Put(schema.Account{UserID: u.id}),
		schema.Devices.Put(schema.Device{UserID: u.id, DeviceID: "D"}),
		schema.AccessTokens.Put(schema.AccessToken{Hash: secret.Hash(u.token), UserID: u.id, DeviceID: "D"}),
	)
	return u
}

func (w *world) nobody() someone { return someone{w: w} }

func (w *world) write(rows ...persistence.Mutation) {
	w.t.Helper()
	if _, err := persistence.Await(w.t.Context(), w.rows, &persistence.Commit{Write: rows}); err != nil {
		w.t.Fatal(err)
	}
}

// answer is what the server said.
type answer struct {
	t      *testing.T
	call   string
	status int
	header http.Header
	body   []byte
}

// do makes a request; headers come in pairs.
func (u someone) do(method, path string, body io.Reader, headers ...string) answer {
	t := u.w.t
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, u.w.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if u.token != "" {
		r.Header.Set("Authorization", "Bearer "+u.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{t, method + " " + path, resp.StatusCode, resp.Header, raw}
}

func (u someone) get(path string, headers ...string) answer {
	u.w.t.Helper()
	return u.do(http.MethodGet, path, nil, headers...)
}

// upload uploads a file and gives its server/mediaId.
func (u someone) upload(content []byte, contentType, query string) string {
	u.w.t.Helper()
	a := u.do(http.MethodPost, "/_matrix/media/v3/upload"+query, bytes.NewReader(content), "Content-Type", contentType).ok()
	return a.mxc()
}

func (a answer) mxc() string {
	a.t.Helper()
	name, ok := strings.CutPrefix(a.at("content_uri").Str, "mxc://")
	if !ok {
		a.t.Fatalf("%s: %s", a.call, a.body)
	}
	return name
}

func (a answer) at(path string) gjson.Result { return gjson.GetBytes(a.body, path) }

func (a answer) ok() answer {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("%s: %d %.300s", a.call, a.status, a.body)
	}
	return a
}

func (a answer) refused(status int, code string) answer {
	a.t.Helper()
	if a.status != status || a.at("errcode").Str != code || a.at("error").Str == "" {
		a.t.Fatalf("%s: %d %.300s, want %d %s", a.call, a.status, a.body, status, code)
	}
	return a
}

// has fails the test unless the headers, in pairs, are these.
func (a answer) has(headers ...string) answer {
	a.t.Helper()
	for i := 0; i < len(headers); i += 2 {
		if got := a.header.Get(headers[i]); got != headers[i+1] {
			a.t.Errorf("%s: %s: %q, want %q", a.call, headers[i], got, headers[i+1])
		}
	}
	return a
}

const (
	downloads    = "/_matrix/client/v1/media/download/"
	oldDownloads = "/_matrix/media/v3/download/"
)

// objects counts what lies in the store.
func (w *world) objects() int {
	w.t.Helper()
	n := 0
	for _, err := range w.blobs.List(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // it never fails
	return b
}
