package pdus

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
)

var key = signing.NewKey("k", make([]byte, ed25519.SeedSize))

type keys struct{}

func (keys) Key(context.Context, string, string, int64) (ed25519.PublicKey, error) {
	return key.Public(), nil
}

// room takes outliers, as long as those that authorise them have come before, and rejects those of one sender.
type room struct {
	cluster.Caller
	version *roomversion.Version
	took    map[string][]byte
	largest int // of one message, in events
}

func (r *room) Ask(_ context.Context, _ cluster.Identity, request proto.Message) (proto.Message, error) {
	in := request.(*messages.AddOutliers)
	r.largest = max(r.largest, len(in.Pdus))
	out := &messages.PduResults{}
	for _, pdu := range in.Pdus {
		e, err := event.FromStored(pdu.Json, pdu.EventId, r.version)
		if err != nil {
			return nil, err
		}
		result := &messages.PduResult{EventId: pdu.EventId, Status: messages.PduResult_ACCEPTED}
		if slices.ContainsFunc(e.Authorisers(), func(id string) bool { return r.took[id] == nil }) {
			result.Status = messages.PduResult_MISSING
		} else if r.took[pdu.EventId] = pdu.Json; e.Sender() == "@rejected:b" {
			result.Status = messages.PduResult_REJECTED
		}
		out.Results = append(out.Results, result)
	}
	return out, nil
}

// TestAccounts: events are told before those that authorise them, some twice, and some are no good.
func TestAccounts(t *testing.T) {
	t.Parallel()
	version, _ := roomversion.Get("10")
	const roomID = "!room:b"
	make1 := func(in, sender string, auth ...string) *event.Event {
		t.Helper()
		e, err := event.Build(event.Proto{Type: "m.room.member", StateKey: &sender, Sender: sender, RoomID: in, Content: []byte(`{"membership":"join"}`),
			PrevEvents: auth, AuthEvents: auth, Depth: 1, OriginServerTS: 1}, version, "b", key)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := make1(roomID, "@first:b")
	var list []string
	good := map[string]*event.Event{first.ID(): first}
	for i := range 600 {
		e := make1(roomID, fmt.Sprintf("@user%d:b", i), first.ID())
		good[e.ID()] = e
		list = append(list, string(e.JSON()))
	}
	rejected, lacking := make1(roomID, "@rejected:b", first.ID()), make1(roomID, "@lacking:b", "$elsewhere")
	forged := strings.Replace(list[0], `"depth":1`, `"depth":2`, 1)
	list = append(list, string(make1("!other:b", "@x:b").JSON()), forged, `{"no":"event"}`, list[5], string(rejected.JSON()), string(lacking.JSON()), string(first.JSON()))

	folder := t.TempDir()
	a, err := NewAccount(folder, roomID, version, verify.New(keys{}, 2))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("what would stay after a crash: %v %v", left, err)
	}
	told := 0
	if err := a.Read(t.Context(), NewDecoder(strings.NewReader("["+strings.Join(list, ",")+"]")), func(*event.Event) error { told++; return nil }); err != nil {
		t.Fatal(err)
	}
	if want := len(good) + 3; told != want {
		t.Errorf("%d events were told of, not %d", told, want)
	}
	r := &room{version: version, took: map[string][]byte{}}
	taken, err := a.Store(t.Context(), r, "b", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if len(taken) != len(good)+1 || taken[rejected.ID()] || r.largest > batchEvents {
		t.Errorf("%d events were taken, in messages of %d", len(taken), r.largest)
	}
	for id, e := range good {
		if !taken[id] || !bytes.Equal(r.took[id], e.JSON()) {
			t.Fatalf("%s was not taken as it is", id)
		}
	}
	if _, ok := taken[lacking.ID()]; ok {
		t.Error("an event was taken whose authority is missing")
	}
}
