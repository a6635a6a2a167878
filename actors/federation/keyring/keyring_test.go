package keyring

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

// world is this server and others, whose answers a test writes.
type world struct {
	*testing.T
	ring  *Ring
	store persistence.Store

	mu    sync.Mutex
	now   time.Time
	asked []string // destination and path
	says  map[string]func(federation.Request) (jsontext.Value, error)
}

var down = federation.Unreachable(errors.New("it is down"))

func newWorld(t *testing.T, notaries ...string) *world {
	t.Parallel()
	w := &world{T: t, now: time.UnixMilli(1_700_000_000_000), store: memory.New(memory.Options{}), says: map[string]func(federation.Request) (jsontext.Value, error){}}
	own := key("own")
	w.ring = New(Options{Store: w.store, Caller: w, Notaries: notaries, Now: w.clock, Log: slog.New(slog.DiscardHandler),
		Own: &Own{ServerName: "here", Current: own, Newest: func(context.Context) (signing.Key, error) { return own, nil }, Store: w.store, Now: w.clock}})
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Call implements federation.Caller.
func (w *world) Call(_ context.Context, r federation.Request) (jsontext.Value, error) {
	w.mu.Lock()
	w.asked = append(w.asked, r.Destination+" "+strings.TrimPrefix(r.URI, "/_matrix/key/v2/"))
	answer := w.says[r.Destination]
	w.mu.Unlock()
	if answer == nil {
		return nil, down
	}
	return answer(r)
}

// Open implements federation.Caller.
func (w *world) Open(context.Context, federation.Request) (io.ReadCloser, string, error) {
	return nil, "", down
}

// calls checks how often others were asked since the last time.
func (w *world) calls(want ...string) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.asked, want) {
		w.Errorf("asked %q, want %q", w.asked, want)
	}
	w.asked = nil
}

// key is the key with this name; keys of the same name and salt are the same.
func key(name string, salt ...byte) signing.Key {
	seed := make([]byte, 32)
	copy(seed, append([]byte(name), salt...))
	return signing.NewKey(name, seed)
}

// published is what a server says of its keys: it signs with all that are current.
func (w *world) published(server string, until time.Duration, current []signing.Key, old map[string]verifyKey, signers ...signing.Key) jsontext.Value {
	w.Helper()
	d := document{ServerName: server, VerifyKeys: map[string]verifyKey{}, OldVerifyKeys: old, ValidUntilTS: w.clock().Add(until).UnixMilli()}
	for _, k := range current {
		d.VerifyKeys[k.ID] = verifyKey{Key: signing.EncodeBase64(k.Public())}
	}
	raw, err := json.Marshal(&d)
	if signers == nil {
		signers = current
	}
	for _, k := range signers {
		if err == nil {
			raw, err = signing.SignJSON(raw, server, k)
		}
	}
	if err != nil {
		w.Fatal(err)
	}
	return raw
}

// publishes has the server answer with this.
func (w *world) publishes(server string, raw jsontext.Value) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.says[server] = func(federation.Request) (jsontext.Value, error) { return raw, nil }
}

func (w *world) knows(server string, k signing.Key, at int64) {
	w.Helper()
	public, err := w.ring.Key(w.Context(), server, k.ID, at)
	if err != nil || !public.Equal(k.Public()) {
		w.Errorf("%s of %s: %v", k.ID, server, err)
	}
}

func (w *world) knowsNot(server, keyID string, at int64) {
	w.Helper()
	if _, err := w.ring.Key(w.Context(), server, keyID, at); !errors.Is(err, federation.ErrNoKey) {
		w.Errorf("%s of %s: %v", keyID, server, err)
	}
}

func TestAKeyIsFetchedOnce(t *testing.T) {
	w := newWorld(t)
	a := key("a")
	w.publishes("remote", w.published("remote", time.Hour, []signing.Key{a}, nil))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { w.knows("remote", a, w.clock().UnixMilli()) })
	}
	all.Wait()
	w.calls("remote server")
	// Another ring, such as that of another node, finds it in the store.
	other := New(w.ring.o)
	if _, err := other.Key(t.Context(), "remote", a.ID, 0); err != nil {
		t.Error(err)
	}
	w.calls()
}

func TestAServerThatGivesNothingIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	wait := attemptShortest
	for range 4 {
		w.knowsNot("remote", "ed25519:a", 0)
		w.knowsNot("remote", "ed25519:b", 0)
		w.calls("remote server")
		w.pass(wait - time.Second)
		w.knowsNot("remote", "ed25519:a", 0)
		w.calls()
		w.pass(2 * time.Second)
		wait *= 2
	}
	w.knowsNot("remote", "curve25519:a", 0)
	w.calls()
}

func TestAServerThatIsHeardOfIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	a := key("a")
	for range 3 {
		w.knowsNot("remote", a.ID, 0)
		w.calls("remote server")
		w.ring.Heard("remote") // too soon
		w.knowsNot("remote", a.ID, 0)
		w.calls()
		w.pass(heardPause)
		w.ring.Heard("remote")
	}
	w.publishes("remote", w.published("remote", time.Hour, []signing.Key{a}, nil))
	w.knows("remote", a, w.clock().UnixMilli())
	w.calls("remote server")
	w.pass(heardPause)
	w.ring.Heard("remote") // which has given its keys
	w.knowsNot("remote", "ed25519:b", 0)
	w.calls()
}

func TestValidity(t *testing.T) {
	w := newWorld(t)
	a, b := key("a"), key("b")
	at := func(d time.Duration) int64 { return w.clock().Add(d).UnixMilli() }
	old := map[string]verifyKey{b.ID: {Key: signing.EncodeBase64(b.Public()), ExpiredTS: at(-time.Hour)}}
	w.publishes("remote", w.published("remote", 365*24*time.Hour, []signing.Key{a}, old))
	w.knows("remote", a, at(0))
	w.knows("remote", a, at(longestValidity))
	w.knowsNot("remote", a.ID, at(longestValidity+time.Second)) // whatever the server says
	w.knows("remote", b, at(-time.Hour))
	w.knowsNot("remote", b.ID, at(-time.Hour+time.Millisecond))
	w.knows("remote", b, 0)
	w.calls("remote server") // once a minute at most, whichever key is wanted
	// A key is believed for as long as its server said, and then asked for again.
	w.pass(8 * 24 * time.Hour)
	w.publishes("remote", w.published("remote", time.Hour, []signing.Key{a}, old))
	w.knows("remote", a, at(0))
	w.calls("remote server")
}

// HARD_PLACES.md 26: never the same key id for two keys.
func TestAKeyIDStaysTheSameKey(t *testing.T) {
	w := newWorld(t)
	a, forged, b := key("a"), key("a", 1), key("b")
	w.publishes("remote", w.published("remote", time.Hour, []signing.Key{a}, nil))
	w.knows("remote", a, 0)
	w.pass(2 * time.Hour)
	w.publishes("remote", w.published("remote", time.Hour, []signing.Key{forged, b}, nil))
	w.knowsNot("remote", a.ID, w.clock().UnixMilli())
	w.knows("remote", a, 0)
	w.knows("remote", b, w.clock().UnixMilli())
}

func TestWhatIsWronglyPublished(t *testing.T) {
	a, b := key("a"), key("b")
	none := []signing.Key{}
	for name, make := range map[string]func(w *world) jsontext.Value{
		"another server's": func(w *world) jsontext.Value { return w.published("elsewhere", time.Hour, []signing.Key{a}, nil) },
		"not signed": func(w *world) jsontext.Value {
			return w.published("remote", time.Hour, []signing.Key{a}, nil, none...)
		},
		"signed by another": func(w *world) jsontext.Value { return w.published("remote", time.Hour, []signing.Key{a}, nil, b) },
		"no object":         func(*world) jsontext.Value { return jsontext.Value(`[]`) },
		"keys that are none": func(*world) jsontext.Value {
			return jsontext.Value(`{"server_name":"remote","verify_keys":{"ed25519:a":{"key":"x"}},"valid_until_ts":99999999999999}`)
		},
		"signed by an old key only": func(w *world) jsontext.Value {
			return w.published("remote", time.Hour, []signing.Key{a}, map[string]verifyKey{b.ID: {Key: signing.EncodeBase64(b.Public()), ExpiredTS: 1}}, b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.publishes("remote", make(w))
			w.knowsNot("remote", a.ID, 0)
			w.knowsNot("remote", b.ID, 0)
		})
	}
}

// TestNotaries: a notary is asked for the keys of a server that is gone. It cannot make them up.
func TestNotaries(t *testing.T) {
	a, n := key("a"), key("n")
	forger := key("a", 7)
	answer := func(w *world, raw jsontext.Value, by ...signing.Key) jsontext.Value {
		for _, k := range by {
			var err error
			if raw, err = signing.SignJSON(raw, "notary", k); err != nil {
				w.Fatal(err)
			}
		}
		return jsontext.Value(`{"server_keys":[` + string(raw) + `]}`)
	}
	for name, c := range map[string]struct {
		says func(w *world) jsontext.Value
		good bool
	}{
		"honest": {func(w *world) jsontext.Value {
			return answer(w, w.published("remote", time.Hour, []signing.Key{a}, nil), n)
		}, true},
		"without its own signature": {func(w *world) jsontext.Value {
			return answer(w, w.published("remote", time.Hour, []signing.Key{a}, nil))
		}, false},
		"signed by another key than its own": {func(w *world) jsontext.Value {
			return answer(w, w.published("remote", time.Hour, []signing.Key{a}, nil), key("n", 9))
		}, false},
		"not signed by the server": {func(w *world) jsontext.Value {
			return answer(w, w.published("remote", time.Hour, []signing.Key{a}, nil, forger), n)
		}, false},
		"of another server": {func(w *world) jsontext.Value {
			return answer(w, w.published("third", time.Hour, []signing.Key{a}, nil), n)
		}, false},
		"no list": {func(*world) jsontext.Value { return jsontext.Value(`{"server_keys":7}`) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "notary")
			own, says := w.published("notary", time.Hour, []signing.Key{n}, nil), c.says(w)
			w.says["notary"] = func(r federation.Request) (jsontext.Value, error) {
				if r.Method == "GET" {
					return own, nil
				}
				return says, nil
			}
			if c.good {
				w.knows("remote", a, w.clock().UnixMilli())
			} else {
				w.knowsNot("remote", a.ID, 0)
			}
		})
	}
}

// TestANotaryShortensNothing: what it answers is older than what the server itself said.
func TestANotaryShortensNothing(t *testing.T) {
	w := newWorld(t, "notary")
	a, b, n := key("a"), key("b"), key("n")
	w.publishes("remote", w.published("remote", 24*time.Hour, []signing.Key{a}, nil))
	at := w.clock().Add(23 * time.Hour).UnixMilli()
	w.knows("remote", a, at)
	earlier, err := signing.SignJSON(w.published("remote", time.Minute, []signing.Key{a, b}, nil), "notary", n)
	if err != nil {
		t.Fatal(err)
	}
	own := w.published("notary", time.Hour, []signing.Key{n}, nil)
	w.says["notary"] = func(r federation.Request) (jsontext.Value, error) {
		if r.Method == "GET" {
			return own, nil
		}
		return jsontext.Value(`{"server_keys":[` + string(earlier) + `]}`), nil
	}
	w.knows("remote", b, 0)
	other := New(w.ring.o) // which remembers nothing
	if _, err := other.Key(t.Context(), "remote", a.ID, at); err != nil {
		t.Error(err)
	}
}

func TestWeAreANotary(t *testing.T) {
	w := newWorld(t)
	a := key("a")
	w.publishes("remote", w.published("remote", time.Hour, []signing.Key{a}, nil))
	raw, ok, err := w.ring.Notarize(t.Context(), "remote", 0)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := signing.VerifyJSON(raw, "remote", a.ID, a.Public()); err != nil {
		t.Error(err)
	}
	if err := signing.VerifyJSON(raw, "here", w.ring.Own().Current.ID, w.ring.Own().Current.Public()); err != nil {
		t.Error(err)
	}
	if _, ok, err := w.ring.Notarize(t.Context(), "gone", 0); ok || err != nil {
		t.Error(ok, err)
	}
	w.says["remote"] = nil
	w.pass(3 * time.Hour)
	if _, ok, err := w.ring.Notarize(t.Context(), "remote", 0); !ok || err != nil { // old keys are better than none
		t.Error(ok, err)
	}
}

func TestOwnKeysAfterARotation(t *testing.T) {
	w := newWorld(t)
	used, next, gone := key("used"), key("next"), key("gone")
	expires := w.clock().Add(time.Hour)
	for _, row := range []schema.OldSigningKey{{KeyID: used.ID, Public: used.Public(), ExpiredTS: expires.UnixMilli()}, {KeyID: gone.ID, Public: gone.Public(), ExpiredTS: 5}} {
		if _, err := persistence.Await(t.Context(), w.store, &persistence.Commit{Write: []persistence.Mutation{schema.OldSigningKeys.Put(row)}}); err != nil {
			t.Fatal(err)
		}
	}
	o := w.ring.Own()
	o.Current, o.Newest = used, func(context.Context) (signing.Key, error) { return next, nil }
	document := func() gjson.Result {
		t.Helper()
		raw, err := o.Document(t.Context())
		if err == nil {
			err = signing.VerifyJSON(raw, "here", next.ID, next.Public())
		}
		if err != nil {
			t.Fatal(err)
		}
		return gjson.ParseBytes(raw)
	}
	d := document()
	if len(d.Get("verify_keys").Map()) != 2 || len(d.Get("old_verify_keys").Map()) != 1 || d.Get("valid_until_ts").Int() > expires.UnixMilli() {
		t.Error(d)
	}
	w.knows("here", used, w.clock().UnixMilli())
	w.knows("here", next, w.clock().UnixMilli())
	w.knows("here", gone, 5)
	w.knowsNot("here", gone.ID, 6)
	w.pass(2 * time.Hour)
	if d = document(); len(d.Get("verify_keys").Map()) != 1 || len(d.Get("old_verify_keys").Map()) != 2 {
		t.Error(d)
	}
	w.knowsNot("here", used.ID, w.clock().UnixMilli())
	w.knows("here", used, expires.UnixMilli())
}
