// Package clienttest lets tests use the client-server API as clients do: over HTTP, with the real router, the actors of
// rooms and users, and the memory store.
package clienttest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	sender "github.com/matrixon/matrixon/actors/delayed"
	"github.com/matrixon/matrixon/actors/hub"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/room"
	"github.com/matrixon/matrixon/actors/search"
	"github.com/matrixon/matrixon/actors/sliding"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/actors/user/dehydrated"
	"github.com/matrixon/matrixon/actors/user/delayed"
	"github.com/matrixon/matrixon/actors/user/keys"
	usermedia "github.com/matrixon/matrixon/actors/user/media"
	"github.com/matrixon/matrixon/actors/user/signin"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/http/media/picture"
	"github.com/matrixon/matrixon/http/oauth"
	"github.com/matrixon/matrixon/http/sso"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/bleve"
	"github.com/matrixon/matrixon/persistence/blobs/database"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

// ServerName is the name of the server in a World.
const ServerName = "example.org"

// notices is the account of the server's notices.
const notices = "@_server:" + ServerName

// World is a server with its users.
type World struct {
	T      *testing.T
	Store  persistence.Store
	Node   *cluster.Node
	Reader *reader.Reader
	Tokens *api.Tokens
	Clock  *Clock
	Media  *media.Repository
	// Registration says who may make an account.
	Registration client.RegistrationOptions
	// Delayed sends delayed events when it is told to.
	Delayed *sender.Sender

	oauth *oauth.Server
	mail  sync.Map // links by address
	http  *httptest.Server
	log   *failures
	stop  func() // ends the work on the search index
}

// Clock is the server's time. It stands still until it is moved on.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the time on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// New starts a server that ends with the test. The test fails if the server had to answer with an error of its own
// (500), whatever the test makes of that answer.
func New(t *testing.T) *World {
	t.Helper()
	return newWorld(t, false, nil)
}

// NewWithProviders is New for a server at which people can sign in with identity providers.
func NewWithProviders(t *testing.T, providers ...sso.Provider) *World {
	t.Helper()
	return newWorld(t, false, providers)
}

// NewWithoutPasswords is NewWithProviders for a server at which they are the only way in.
func NewWithoutPasswords(t *testing.T, providers ...sso.Provider) *World {
	t.Helper()
	return newWorld(t, true, providers)
}

func newWorld(t *testing.T, noPasswords bool, providers []sso.Provider) *World {
	t.Helper()
	w := &World{
		T: t, Store: memory.New(memory.Options{}), Clock: &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, log: &failures{t: t},
	}
	log := slog.New(w.log)
	w.Node = cluster.NewNode(cluster.Options{Name: "a", Logger: log})
	t.Cleanup(w.close)
	key := signing.NewKey("a_test", make([]byte, 32))
	h := hub.New(w.Node)
	w.Store.Follow(h.Publish)
	var err error
	w.Reader = reader.New(w.Store, w.Clock.Now, notices)
	counter := unread.New(w.Store, notices)
	sync := syncer.New(w.Node, w.Reader, counter, true, w.Clock.Now)
	index := w.index(log)
	removals := account.Options{Deactivated: []account.Removal{delayed.Drop}}
	handlers := slices.Concat(account.Handlers(removals), keys.Handlers(), dehydrated.Handlers(removals),
		usermedia.Handlers(), delayed.Handlers(), signin.Handlers(removals))
	for _, kind := range []cluster.Kind{
		{Name: cluster.KindRoom, Bound: 1000, New: room.New(room.Deps{
			Store: w.Store, Typing: h.Room, ServerName: ServerName, Key: key, Now: w.Clock.Now})},
		{Name: cluster.KindUser, Bound: 1000, New: user.New(user.Deps{
			Store: w.Store, Hub: h, Now: w.Clock.Now, Log: log, Presence: true}, handlers...)},
	} {
		if err := w.Node.Register(kind); err != nil {
			t.Fatal(err)
		}
	}
	deps := client.Deps{ServerName: ServerName, Store: w.Store, Caller: w.Node, Now: w.Clock.Now, Log: log,
		Notices: client.Notices{UserID: notices, Name: "Notices"}}
	w.Tokens = api.NewTokens(api.TokensOptions{Store: w.Store, Now: w.Clock.Now, Remember: time.Minute, FirstUse: client.ConfirmRefresh(deps)})
	passwords, err := password.New(password.Parameters{MemoryKiB: 8, Iterations: 1, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	engine := &uia.Engine{ServerName: ServerName, Store: w.Store, Passwords: passwords}
	a := api.New(api.Options{Auth: w.Tokens, Log: log, Now: w.Clock.Now})
	addresses := &address.Validator{Store: w.Store, Send: w.deliver}
	accounts := client.AccountOptions{Addresses: addresses, NoPasswords: noPasswords, Sessions: w.Tokens, Passwords: passwords, UIA: engine, AccessLifetime: time.Hour, SSO: &client.SSO{OAuth: true},
		Registration: func() client.RegistrationOptions { return w.Registration }}
	a.Add(api.Client, client.Accounts(deps, accounts)...)
	box, err := secret.NewBox(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	onPages := browser.Options{BaseURL: w.URL, Registrar: client.NewRegistrar(deps, accounts), Box: box, Addresses: addresses, Trusted: []string{"https://trusted.example/"}}
	for _, p := range providers {
		onPages.Providers = append(onPages.Providers, browser.Provider{ID: p.ID, Name: p.Name})
	}
	pages := browser.New(deps, onPages)
	w.oauth = oauth.New(deps, oauth.Options{Store: w.Store, Pages: pages, Box: box, Sessions: w.Tokens, AccessLifetime: time.Hour})
	ways := sso.New(deps, sso.Options{Pages: pages, Box: box, UIA: engine, Providers: providers, Client: http.DefaultClient})
	engine.Linked = ways.Linked
	a.Add(api.Client, ways.Endpoints()...)
	a.Add(api.Client, pages.Endpoints()...)
	a.Add(api.Client, pages.Fallbacks(engine)...)
	a.Add(api.Client, w.oauth.Endpoints()...)
	meetings, end := client.Rendezvous(deps, client.RendezvousOptions{Store: w.Store, URL: pages.URL})
	t.Cleanup(end)
	a.Add(api.Client, meetings...)
	rooms := client.RoomOptions{
		Reader:        w.Reader,
		Unread:        counter,
		UserDirectory: client.UserDirectory{Enabled: true},
		Search:        index,
		Creator:       &room.Creator{Caller: w.Node, Store: w.Store, ServerName: ServerName, Key: key, Now: w.Clock.Now, Random: rand.Reader},
		Delayed:       client.DelayedOptions{MaxDelay: 24 * time.Hour, MaxScheduled: 5},
	}
	w.Delayed = sender.New(sender.Options{Store: w.Store, Caller: w.Node, Now: w.Clock.Now, Log: log, Check: client.DelayedCheck(deps, rooms, nil)})
	rooms.Delayed.Sender = w.Delayed
	a.Add(api.Client, client.Rooms(deps, rooms)...)
	a.Add(api.Admin, client.ServerNotices(deps, rooms)...)
	a.Add(api.Client, client.Encryption(deps, client.EncryptionOptions{UIA: engine, Syncer: sync, ResetPage: func() string { return pages.ActionURL(browser.ActionReset) }})...)
	a.Add(api.Client, client.Sync(deps, sync, true)...)
	slide := sliding.New(w.Node, w.Reader, sync, counter, w.Clock.Now)
	a.Add(api.Client, client.SlidingSync(slide)...)
	a.Add(api.Client, client.SyncStreams(deps, sync, true)...)
	a.Add(api.Client, client.OldSync(deps, client.OldSyncOptions{Reader: w.Reader, Syncer: sync})...)
	a.Add(api.Client, client.Calls(deps, client.TURN{URIs: []string{"turn:turn.example.org?transport=udp"}, Secret: "north", Lifetime: time.Hour})...)
	a.Add(api.Client, client.RTC{LiveKit: []string{"https://rtc.example.org"}}.Endpoints()...)
	w.Media = media.New(media.Options{ServerName: ServerName, Rows: w.Store, Blobs: database.New(w.Store, w.Clock.Now), Caller: w.Node, Now: w.Clock.Now, Log: log,
		MaxUpload: 1 << 20, MaxRemote: 1 << 20, MostPending: 10, PendingLifetime: time.Hour,
		Pictures: picture.NewWorkshop(picture.Limits{MaxPixels: 1 << 20, Memory: 32 << 20})})
	a.Add(api.Media, w.Media.Endpoints()...)
	w.http = httptest.NewServer(a.Handler(api.Client, api.Media, api.Admin))
	addresses.BaseURL = w.http.URL
	return w
}

// deliver keeps the link of a message.
func (w *World) deliver(_ context.Context, to string, _ address.Purpose, _, link string) error {
	w.mail.Store(to, link)
	return nil
}

// Link is what the newest message to an address leads to; empty when there was none.
func (w *World) Link(to string) string {
	link, _ := w.mail.Load(to)
	text, _ := link.(string)
	return text
}

// URL is where the server is.
func (w *World) URL() string { return w.http.URL }

// index keeps a search index in memory.
func (w *World) index(log *slog.Logger) *search.Index {
	searcher, err := bleve.Memory()
	if err != nil {
		w.T.Fatal(err)
	}
	index := search.New(w.Store, searcher, func() bool { return true }, log)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		index.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-stopped
		if err := searcher.Close(); err != nil {
			w.T.Error(err)
		}
	}
	return index
}

func (w *World) close() {
	if w.http != nil {
		w.http.Close()
	}
	if w.stop != nil {
		w.stop()
	}
	if w.Tokens != nil {
		w.Tokens.Close()
	}
	if w.oauth != nil {
		w.oauth.Close()
	}
	if err := w.Node.Stop(context.Background()); err != nil {
		w.T.Error(err)
	}
	if err := w.Store.Close(); err != nil {
		w.T.Error(err)
	}
	w.log.end()
}

// Register makes a user with one session, without asking the endpoints of accounts.
func (w *World) Register(name string) *User {
	w.T.Helper()
	userID := "@" + name + ":" + ServerName
	w.Write(schema.Accounts.Put(schema.Account{UserID: userID, CreatedTS: w.Clock.Now().UnixMilli()}))
	return w.session(userID, "DEVICE")
}

func (w *World) session(userID, device string) *User {
	w.T.Helper()
	u := &User{world: w, ID: userID, Device: device, Token: secret.New(secret.Access)}
	w.Write(
		schema.Devices.Put(schema.Device{UserID: userID, DeviceID: device}),
		schema.AccessTokens.Put(schema.AccessToken{Hash: secret.Hash(u.Token), UserID: userID, DeviceID: device}),
		schema.TokensByDevice.Put(schema.TokenByDevice{UserID: userID, DeviceID: device, Kind: "access", Hash: secret.Hash(u.Token)}),
	)
	return u
}

// Nobody asks without a token.
func (w *World) Nobody() *User { return &User{world: w} }

// Write commits rows as if some actor had.
func (w *World) Write(rows ...persistence.Mutation) {
	w.T.Helper()
	if _, err := persistence.Await(context.Background(), w.Store, &persistence.Commit{Write: rows}); err != nil {
		w.T.Fatal(err)
	}
}

// failures makes what the server logs as an error a failure of the test.
type failures struct {
	t     *testing.T
	mu    sync.Mutex
	ended bool
}

// Enabled implements slog.Handler.
func (f *failures) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

// Handle implements slog.Handler.
func (f *failures) Handle(_ context.Context, r slog.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil
	}
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	f.t.Errorf("the server logged an error: %s", text)
	return nil
}

// WithAttrs implements slog.Handler.
func (f *failures) WithAttrs([]slog.Attr) slog.Handler { return f }

// WithGroup implements slog.Handler.
func (f *failures) WithGroup(string) slog.Handler { return f }

// end is called when the test is over, and must not be told of anything any more.
func (f *failures) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}
