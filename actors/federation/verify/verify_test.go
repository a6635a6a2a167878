package verify

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keys are those of some servers, valid for a while.
type keys struct {
	known      map[string]signing.Key // by server
	validUntil int64                  // 0: for ever
	asked      atomic.Int64
	err        error
}

func (k *keys) Key(_ context.Context, server, keyID string, at int64) (ed25519.PublicKey, error) {
	k.asked.Add(1)
	if k.err != nil {
		return nil, k.err
	}
	key, ok := k.known[server]
	if !ok || key.ID != keyID || k.validUntil > 0 && at > k.validUntil {
		return nil, federation.ErrNoKey
	}
	return key.Public(), nil
}

func seeded(b byte) signing.Key {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = b
	return signing.NewKey("k", seed)
}

var alpha, beta = seeded(1), seeded(2)

func twoServers() *keys {
	return &keys{known: map[string]signing.Key{"a.example": alpha, "b.example": beta}}
}

func version(id string) *roomversion.Version {
	v, _ := roomversion.Get(id)
	return v
}

// roomID is one of the room version's grammar.
func roomID(v *roomversion.Version) string {
	if v.RoomIDFromCreate {
		return "!" + strings.Repeat("x", 43)
	}
	return "!r:a.example"
}

func cited(v *roomversion.Version) []string {
	if v.EventIDFormat == roomversion.EventIDField {
		return []string{"$p:a.example"}
	}
	return []string{"$" + strings.Repeat("p", 43)}
}

func build(t testing.TB, v *roomversion.Version, change func(*event.Proto)) *event.Event {
	t.Helper()
	p := event.Proto{Type: "m.room.message", Sender: "@u:a.example", RoomID: roomID(v), Content: []byte(`{"body":"hello"}`),
		PrevEvents: cited(v), AuthEvents: cited(v), Depth: 5, OriginServerTS: 1000, EventIDRandom: "e"}
	if change != nil {
		change(&p)
	}
	e, err := event.Build(p, v, "a.example", alpha)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func refused(t *testing.T, err error, status int, with string) {
	t.Helper()
	var e *mxerr.Error
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Message, with) {
		t.Fatalf("got %v, want %d with %q", err, status, with)
	}
}

func TestEveryRoomVersion(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			k := twoServers()
			e := build(t, v, nil)
			got, err := New(k, 1).PDU(context.Background(), e.JSON(), v)
			if err != nil || got.ID() != e.ID() || !got.HashOK() {
				t.Fatalf("%v %v", got, err)
			}
			unsigned := strings.Replace(string(e.JSON()), `"signatures":{"a.example"`, `"signatures":{"c.example"`, 1)
			_, err = New(k, 1).PDU(context.Background(), []byte(unsigned), v)
			refused(t, err, 403, "not signed by")
			forged := strings.Replace(string(e.JSON()), `"depth":5`, `"depth":6`, 1)
			_, err = New(k, 1).PDU(context.Background(), []byte(forged), v)
			refused(t, err, 403, "is wrong")
		})
	}
}

func TestAWrongContentHashRedacts(t *testing.T) {
	t.Parallel()
	v := version("11")
	tampered := strings.Replace(string(build(t, v, nil).JSON()), "hello", "jello", 1)
	e, err := New(twoServers(), 1).PDU(context.Background(), []byte(tampered), v)
	if err != nil || e.HashOK() || string(e.Content()) != "{}" {
		t.Fatalf("%+v %v", e, err)
	}
}

func TestKeysCountWhileTheyWereValid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version string
		ts      int64
		good    bool
	}{{"4", 1000, true}, {"5", 1000, false}, {"12", 1000, false}, {"12", 999, true}} {
		k := twoServers()
		k.validUntil = 999
		e := build(t, version(c.version), func(p *event.Proto) { p.OriginServerTS = c.ts })
		if _, err := New(k, 1).PDU(context.Background(), e.JSON(), version(c.version)); (err == nil) != c.good {
			t.Errorf("version %s at %d: %v", c.version, c.ts, err)
		}
	}
}

// An event that claims to be from 1970 is asked for by that time, and not by "whenever".
func TestATimeOfZeroIsATime(t *testing.T) {
	t.Parallel()
	v := version("10")
	for _, ts := range []int64{0, -5} {
		if at := validAt(build(t, v, func(p *event.Proto) { p.OriginServerTS = ts })); at != 1 {
			t.Errorf("%d counts as %d", ts, at)
		}
	}
}

func TestTheAuthorisingServerSignsARestrictedJoin(t *testing.T) {
	t.Parallel()
	v := version("10")
	user := "@u:a.example"
	e := build(t, v, func(p *event.Proto) {
		p.Type, p.StateKey, p.Content = "m.room.member", &user, []byte(`{"membership":"join","join_authorised_via_users_server":"@r:b.example"}`)
	})
	verifier := New(twoServers(), 1)
	_, err := verifier.PDU(context.Background(), e.JSON(), v)
	refused(t, err, 403, `not signed by "b.example"`)
	both, err := e.Sign("b.example", beta)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.PDU(context.Background(), both.JSON(), v); err != nil {
		t.Fatal(err)
	}
}

func TestAnInviteOfAThirdPartyNeedsNoSignatureOfItsSender(t *testing.T) {
	t.Parallel()
	v := version("10")
	user := "@u:b.example"
	e := build(t, v, func(p *event.Proto) {
		p.Type, p.StateKey, p.Sender = "m.room.member", &user, "@r:c.example"
		p.Content = []byte(`{"membership":"invite","third_party_invite":{"signed":{"mxid":"@u:b.example","token":"t","signatures":{}}}}`)
	})
	if _, err := New(twoServers(), 1).PDU(context.Background(), e.JSON(), v); err != nil {
		t.Fatal(err)
	}
}

func TestManySignaturesAskForFewKeys(t *testing.T) {
	t.Parallel()
	v := version("10")
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf(`"ed25519:x%d":"AAAA"`, i))
	}
	e := build(t, v, nil)
	raw := strings.Replace(string(e.JSON()), `"signatures":{"a.example":{`, `"signatures":{"a.example":{`+strings.Join(many, ",")+`,`, 1)
	k := &keys{}
	_, err := New(k, 1).PDU(context.Background(), []byte(raw), v)
	refused(t, err, 403, "cannot be had")
	if k.asked.Load() > triedKeys {
		t.Errorf("%d keys were asked for", k.asked.Load())
	}
}

func TestManyKeepTheirOrder(t *testing.T) {
	t.Parallel()
	v := version("11")
	raws := make([][]byte, 200)
	ids := make([]string, len(raws))
	for i := range raws {
		e := build(t, v, func(p *event.Proto) { p.Depth = int64(i + 1) })
		raws[i], ids[i] = e.JSON(), e.ID()
		if i%3 == 0 {
			raws[i] = []byte(`{"type":[`)
		}
	}
	for i, r := range New(twoServers(), 2).PDUs(context.Background(), raws, v) {
		if i%3 == 0 {
			refused(t, r.Err, 400, "canonical JSON")
		} else if r.Err != nil || r.Event.ID() != ids[i] {
			t.Fatalf("%d: %v %v", i, r.Event, r.Err)
		}
	}
	if got := New(twoServers(), 2).PDUs(context.Background(), nil, v); len(got) != 0 {
		t.Error(got)
	}
}

func TestAnEndedContextEndsTheCheck(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	k := &keys{err: context.Canceled}
	cancel()
	v := version("11")
	if _, err := New(k, 1).PDU(ctx, build(t, v, nil).JSON(), v); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func FuzzPDU(f *testing.F) {
	v := version("11")
	f.Add(build(f, v, nil).JSON(), "11")
	f.Add([]byte(`{}`), "1")
	verifier := New(twoServers(), 1)
	f.Fuzz(func(t *testing.T, raw []byte, id string) {
		version, ok := roomversion.Get(id)
		if !ok {
			return
		}
		e, err := verifier.PDU(context.Background(), raw, version)
		var refusal *mxerr.Error
		if err != nil && !errors.As(err, &refusal) {
			t.Fatal(err)
		}
		if err == nil && e.ID() == "" {
			t.Fatal("an event without an id")
		}
	})
}

// BenchmarkPDUs is a transaction of 50 PDUs of about 1 kB with one signature each.
func BenchmarkPDUs(b *testing.B) {
	v := version("11")
	raws := make([][]byte, 50)
	for i := range raws {
		content := fmt.Sprintf(`{"msgtype":"m.text","body":"%s","n":%d}`, strings.Repeat("word ", 100), i)
		raws[i] = build(b, v, func(p *event.Proto) { p.Content = []byte(content) }).JSON()
	}
	verifier := New(twoServers(), 0)
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range verifier.PDUs(context.Background(), raws, v) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(raws)), "µs/PDU")
}
