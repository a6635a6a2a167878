package devicelists

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	bob   = "@bob:remote"
	alice = "@alice:here"
	room  = "!room:here"
)

// world is this server, and others that say what a test has them say.
type world struct {
	*testing.T
	lists *Lists
	store persistence.Store

	mu    sync.Mutex
	now   time.Time
	told  []string // what notices said
	asked []string // method and path
	// answer is what the other server says to the request.
	answer func(r federation.Request) (string, error)
}

func newWorld(t *testing.T) *world {
	t.Parallel()
	w := &world{T: t, now: time.UnixMilli(1_000_000), store: memory.New(memory.Options{})}
	w.store.Follow(func(_ persistence.Position, notices []proto.Message) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, n := range notices {
			if d, ok := n.(*messages.DeviceListNotice); ok {
				w.told = append(w.told, d.UserId+" in "+strings.Join(d.Rooms, ","))
			}
		}
	})
	w.lists = New(Options{ServerName: "here", Store: w.store, Caller: w, Leads: func() bool { return true }, Now: w.clock, Log: slog.New(slog.DiscardHandler)})
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
	path, _ := url.PathUnescape(strings.TrimPrefix(r.URI, "/_matrix/federation/v1"))
	w.mu.Lock()
	w.asked = append(w.asked, r.Destination+" "+path)
	w.mu.Unlock()
	if w.answer == nil {
		return nil, federation.Unreachable(errors.New("it is down"))
	}
	text, err := w.answer(r)
	return jsontext.Value(text), err
}

// Open implements federation.Caller.
func (w *world) Open(context.Context, federation.Request) (io.ReadCloser, string, error) {
	return nil, "", errors.New("not asked for")
}

func (w *world) write(rows ...persistence.Mutation) {
	w.Helper()
	if _, err := persistence.Await(w.Context(), w.store, &persistence.Commit{Write: rows}); err != nil {
		w.Fatal(err)
	}
}

// join has the user share a room with Alice, from now on.
func (w *world) join(userID string, seq uint64) {
	w.Helper()
	w.write(schema.Memberships.Put(schema.Membership{UserID: userID, RoomID: room, Membership: "join", JoinedSeq: seq}),
		schema.RoomServers.Put(schema.RoomServer{RoomID: room, Server: "here", Joined: 1, JoinedSeq: 1}),
		schema.Events.Put(schema.Event{RoomID: room, Seq: 1, EventID: "$1", ReceivedTS: 1}),
		schema.Events.Put(schema.Event{RoomID: room, Seq: seq, EventID: fmt.Sprintf("$%d", seq), ReceivedTS: w.clock().UnixMilli()}))
	w.pass(time.Minute)
}

func (w *world) leave(userID string) {
	w.Helper()
	w.write(schema.Memberships.Put(schema.Membership{UserID: userID, RoomID: room, Membership: "leave", JoinedSeq: 2}))
	w.pass(time.Minute)
}

func deviceKeys(userID, deviceID, key string) string {
	return fmt.Sprintf(`{"user_id":%q,"device_id":%q,"keys":{"ed25519:%s":%q}}`, userID, deviceID, deviceID, key)
}

// has answers with the devices of Bob.
func has(streamID int, devices ...string) func(federation.Request) (string, error) {
	list := make([]string, len(devices))
	for i, d := range devices {
		list[i] = fmt.Sprintf(`{"device_id":%q,"keys":%s,"device_display_name":"name of %s"}`, d, deviceKeys(bob, d, "key"), d)
	}
	return func(federation.Request) (string, error) {
		return fmt.Sprintf(`{"user_id":%q,"stream_id":%d,"devices":[%s]}`, bob, streamID, strings.Join(list, ",")), nil
	}
}

// kept gives Bob's devices as they are kept, and whether they are good.
func (w *world) kept() (devices string, good bool) {
	w.Helper()
	l, ok, err := w.lists.kept(w.Context(), bob)
	if err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, d := range l.Devices {
		names = append(names, d.DeviceID)
	}
	return strings.Join(names, " "), ok
}

func (w *world) expect(devices string) {
	w.Helper()
	if got, ok := w.kept(); got != devices || !ok {
		w.Errorf("kept: %q %v, want %q", got, ok, devices)
	}
}

func (w *world) stale() {
	w.Helper()
	if got, ok := w.kept(); ok {
		w.Errorf("%q is taken for the list", got)
	}
}

func (w *world) resync() {
	w.Helper()
	if err := w.lists.Resync(w.Context(), bob); err != nil {
		w.Fatal(err)
	}
}

func (w *world) update(u Update) {
	w.Helper()
	u.UserID = bob
	if u.Keys == nil && !u.Deleted {
		u.Keys = jsontext.Value(deviceKeys(bob, u.DeviceID, "key"))
	}
	if err := w.lists.Update(w.Context(), u); err != nil {
		w.Fatal(err)
	}
}

// heard gives what members were told since the last time.
func (w *world) heard(n int) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.told) != n || slices.ContainsFunc(w.told, func(s string) bool { return s != bob+" in "+room }) {
		w.Errorf("told: %q, want %d times", w.told, n)
	}
	w.told = nil
}

func TestAListIsFetchedOnceAndThenKept(t *testing.T) {
	w := newWorld(t)
	w.join(bob, 2)
	w.answer = has(5, "A", "B")
	w.resync()
	w.expect("A B")
	w.heard(0) // nobody has seen another list
	w.update(Update{DeviceID: "C", StreamID: 6, PrevID: []int64{5}})
	w.expect("A B C")
	w.heard(1)
	w.update(Update{DeviceID: "A", StreamID: 7, PrevID: []int64{6}, Deleted: true})
	w.expect("B C")
	w.heard(1)
	w.update(Update{DeviceID: "A", StreamID: 7, PrevID: []int64{6}, Deleted: true}) // again
	w.expect("B C")
	w.heard(0)
	if len(w.asked) != 1 {
		t.Error(w.asked)
	}
}

// HARD_PLACES.md 35: a change of a device list that did not come.
func TestAMissedChangeIsFetched(t *testing.T) {
	for name, missed := range map[string]Update{
		"a gap":             {DeviceID: "D", StreamID: 8, PrevID: []int64{7}},
		"several before it": {DeviceID: "D", StreamID: 8, PrevID: []int64{5, 7}},
		"a new sequence":    {DeviceID: "D", StreamID: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.join(bob, 2)
			w.answer = has(5, "A")
			w.resync()
			w.update(missed)
			w.stale()
			w.heard(1)
			w.answer = nil
			if err := w.lists.Resync(t.Context(), bob); !federation.IsUnreachable(err) {
				t.Error(err)
			}
			w.stale()
			w.answer = has(int(missed.StreamID), "A", "C", "D")
			w.resync()
			w.expect("A C D")
			w.heard(1)
		})
	}
}

func TestAChangeDuringTheFetchIsNotLost(t *testing.T) {
	for _, known := range []bool{false, true} {
		w := &world{}
		t.Run(fmt.Sprint(known), func(t *testing.T) {
			w = newWorld(t)
			w.join(bob, 2)
			if known {
				w.answer = has(5, "A")
				w.resync()
			}
			w.answer = func(r federation.Request) (string, error) {
				w.update(Update{DeviceID: "B", StreamID: 9, PrevID: []int64{8}})
				return has(8, "A")(r)
			}
			if err := w.lists.Resync(t.Context(), bob); !errors.Is(err, errMoved) {
				t.Error(err)
			}
			w.stale()
			w.answer = has(9, "A", "B")
			w.resync()
			w.expect("A B")
		})
	}
}

func TestAListIsForgottenWithTheLastRoom(t *testing.T) {
	w := newWorld(t)
	w.join(bob, 2)
	w.answer = has(5, "A")
	w.resync()
	w.leave(bob)
	w.stale()
	w.update(Update{DeviceID: "B", StreamID: 6, PrevID: []int64{5}}) // not for us any more
	w.heard(0)
	// What happened while no room was shared nobody told us.
	w.join(bob, 3)
	w.stale()
	w.update(Update{DeviceID: "B", StreamID: 6, PrevID: []int64{5}})
	w.stale()
	w.answer = has(7, "B", "C")
	w.resync()
	w.expect("B C")
	w.leave(bob)
	if err := w.lists.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, there, err := schema.RemoteDeviceLists.Get(t.Context(), w.store, schema.RemoteDeviceList{UserID: bob}); there || err != nil {
		t.Error(there, err)
	}
}

func TestOnlyTheOwnersKeysAreTaken(t *testing.T) {
	w := newWorld(t)
	w.join(bob, 2)
	w.answer = func(federation.Request) (string, error) {
		return `{"user_id":"@bob:remote","stream_id":1,"master_key":{"user_id":"@alice:here","keys":{}},"devices":[
			{"device_id":"A","keys":` + deviceKeys(bob, "A", "k") + `},{"device_id":"B","keys":` + deviceKeys(alice, "B", "k") + `},
			{"device_id":"C","keys":` + deviceKeys(bob, "A", "k") + `},{"device_id":"D"},{"device_id":"E","keys":7}]}`, nil
	}
	w.resync()
	w.expect("A")
	for _, wrong := range []string{`[]`, `{"user_id":"@eve:remote","stream_id":1,"devices":[]}`, `{"user_id":7}`} {
		w.answer = func(federation.Request) (string, error) { return wrong, nil }
		if err := w.lists.Resync(t.Context(), bob); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
	w.expect("A")
}

func TestSigningKeys(t *testing.T) {
	w := newWorld(t)
	w.join(bob, 2)
	w.answer = has(5, "A")
	w.resync()
	key := func(userID, usage string) jsontext.Value {
		return jsontext.Value(fmt.Sprintf(`{"user_id":%q,"usage":[%q],"keys":{"ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`, userID, usage))
	}
	for range 2 {
		if err := w.lists.SigningKeys(t.Context(), bob, key(bob, "master"), nil); err != nil {
			t.Fatal(err)
		}
	}
	w.heard(1)
	if err := w.lists.SigningKeys(t.Context(), bob, key(alice, "master"), key(alice, "self_signing")); err != nil {
		t.Fatal(err)
	}
	w.heard(0)
	w.write(schema.KeySignatures.Put(schema.KeySignature{UserID: bob, KeyID: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", SignerID: alice, SignerKeyID: "ed25519:u", Signature: "sig"}))
	answer := w.query(map[string][]string{bob: nil})
	if got := gjson.ParseBytes(answer.MasterKeys[bob]); got.Get("user_id").Str != bob || got.Get("signatures").Map()[alice].Get("ed25519:u").Str != "sig" {
		t.Errorf("%s", answer.MasterKeys[bob])
	}
}

func (w *world) query(wanted map[string][]string) *keys.Answer {
	w.Helper()
	answer := keys.NewAnswer()
	if err := w.lists.Query(w.Context(), alice, wanted, time.Second, answer); err != nil {
		w.Fatal(err)
	}
	return answer
}

func TestQuery(t *testing.T) {
	w := newWorld(t)
	w.join(bob, 2)
	w.answer = has(5, "A", "B")
	w.resync()
	w.asked = nil
	w.answer = func(r federation.Request) (string, error) {
		if r.Destination == "down" {
			return "", federation.Unreachable(errors.New("it is down"))
		}
		if r.Destination == "rude" {
			return "", &federation.Error{Destination: "rude", Status: 403, Code: "M_FORBIDDEN", Message: "go away"}
		}
		return `{"device_keys":{"@carol:other":{"X":` + deviceKeys("@carol:other", "X", "k") + `,"Y":` + deviceKeys(alice, "Y", "k") + `},"@alice:here":{"Z":` + deviceKeys(alice, "Z", "k") + `}}}`, nil
	}
	answer := w.query(map[string][]string{bob: {"B"}, "@carol:other": nil, "@dave:down": nil, "@eve:rude": nil})
	if got := answer.DeviceKeys[bob]; len(got) != 1 || gjson.GetBytes(got["B"], "unsigned.device_display_name").Str != "name of B" {
		t.Errorf("%v", got)
	}
	if got := answer.DeviceKeys["@carol:other"]; len(got) != 1 || got["X"] == nil {
		t.Errorf("%v", got)
	}
	if len(answer.DeviceKeys) != 2 {
		t.Errorf("%v", answer.DeviceKeys)
	}
	if got := slices.Sorted(maps.Keys(answer.Failures)); !slices.Equal(got, []string{"down", "rude"}) {
		t.Error(got)
	}
	if got := gjson.GetBytes(answer.Failures["rude"], "errcode").Str; got != "M_FORBIDDEN" {
		t.Error(got)
	}
	slices.Sort(w.asked)
	if want := []string{"down /user/keys/query", "other /user/keys/query", "rude /user/keys/query"}; !slices.Equal(w.asked, want) {
		t.Error(w.asked)
	}
}

func TestClaim(t *testing.T) {
	w := newWorld(t)
	w.answer = func(r federation.Request) (string, error) {
		if r.Destination == "down" {
			return "", federation.Unreachable(errors.New("it is down"))
		}
		return `{"one_time_keys":{"@bob:remote":{"A":{"signed_curve25519:1":{"key":"k"}},"B":{"other:1":{"key":"k"}},"C":{"signed_curve25519:1":{},"signed_curve25519:2":{}},"D":{"signed_curve25519:1":{}}},"@alice:here":{"A":{"signed_curve25519:1":{}}}}}`, nil
	}
	const algorithm = "signed_curve25519"
	found, failures, err := w.lists.Claim(t.Context(), map[string]map[string]string{
		bob: {"A": algorithm, "B": algorithm, "C": algorithm}, "@carol:down": {"A": algorithm}}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(found)
	if err != nil || string(raw) != `{"@bob:remote":{"A":{"signed_curve25519:1":{"key":"k"}}}}` {
		t.Errorf("%s %v", raw, err)
	}
	if len(failures) != 1 || failures["down"] == nil {
		t.Error(failures)
	}
}

func TestWantedListsAreFetchedInTheBackground(t *testing.T) {
	w := newWorld(t)
	w.join(bob, 2)
	fetched := make(chan bool, 10)
	w.answer = func(r federation.Request) (string, error) {
		if r.Method == "POST" {
			return "", federation.Unreachable(errors.New("it is down"))
		}
		defer func() { fetched <- true }()
		return has(5, "A")(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.lists.Run(ctx)
	}()
	w.query(map[string][]string{bob: nil})
	<-fetched
	w.resync() // with the other, if that goes on
	cancel()
	<-ended
	w.expect("A")
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.join(bob, 2)
	w.lists.Want(bob)
	for n := range mostAttempts {
		userID, was, ok := w.lists.take()
		if !ok || was.failed != n {
			t.Fatal(n, userID, was, ok)
		}
		w.lists.attempt(t.Context(), userID, was)
		if _, _, ok := w.lists.take(); ok {
			t.Fatal("it is asked again at once")
		}
		w.pass(againLongest)
	}
	if _, _, ok := w.lists.take(); ok {
		t.Error("it is asked for ever")
	}
}

func TestConcurrentChanges(t *testing.T) {
	w := newWorld(t)
	w.join(bob, 2)
	w.answer = has(5, "A")
	w.resync()
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			if err := w.lists.SigningKeys(t.Context(), bob, jsontext.Value(fmt.Sprintf(`{"user_id":%q,"keys":{"ed25519:%d":""}}`, bob, i)), nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	w.heard(10)
	w.expect("A")
}
