package policy

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/verdict"
	"github.com/matrixon/matrixon/persistence/cache"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Own is this server as the policy server of rooms that choose it: it signs events that keep to the rules of those who run it. What it has
// said of an event it says again, so that servers that ask later do not see another room. Rooms ask it on the node that they are on; that it
// remembers, and how it counts, needs no more. It is safe for concurrent use.
type Own struct {
	o        OwnOptions
	verdicts *cache.Cache[string, *judged]
	events   *prometheus.CounterVec
}

// OwnOptions are what Own needs.
type OwnOptions struct {
	ServerName string
	Key        signing.Key // its id is room.PolicyKeyID
	Reader     *reader.Reader
	// Rules are those in force now.
	Rules func() *verdict.Rules
	// Count counts an event of a user in a room, or refuses with 429 M_LIMIT_EXCEEDED.
	Count   func(ctx context.Context, roomID, userID string) error
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// remembered is of how many events a node knows what it has said of them. Of those that came into their room, the room knows it too.
const remembered = 20_000

// signed is what metrics call events that were signed; others are called by the rule that refused them.
const signed = "none"

// NewOwn makes it.
func NewOwn(o OwnOptions) (*Own, error) {
	p := &Own{o: o, verdicts: cache.New(cache.Options[string, *judged]{Size: remembered}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "matrixon", Subsystem: "policy_server", Name: "events_total",
			Help: "Events that rooms' servers wanted this server to vouch for, by the rule that refused them; none: they were signed."}, []string{"refused_by"})}
	for _, rule := range append(verdict.All[:], signed, stored) {
		p.events.WithLabelValues(string(rule))
	}
	return p, o.Metrics.Register(p.events)
}

// Serves reports whether the room's policy server is this one.
func (p *Own) Serves(s room.PolicyServer) bool {
	return p != nil && s.Name == p.o.ServerName && p.o.Key.Public().Equal(s.Key)
}

// Key is the public key that rooms name.
func (p *Own) Key() string { return signing.EncodeBase64(p.o.Key.Public()) }

// judged is an event about which this server has been asked.
type judged struct {
	mu      sync.Mutex // held while it is judged
	known   bool
	answer  string // the signature
	refusal error
}

// Sign gives the signature of an event of the room, which is one of its version, with the right content hash and signatures. Errors are
// *mxerr.Error: 400 M_FORBIDDEN when it is not vouched for.
func (p *Own) Sign(ctx context.Context, roomID string, e *event.Event) (string, error) {
	if asksNobody(e) || !e.HashOK() {
		return "", forbidden("the event %s cannot be vouched for", e.ID())
	}
	// In room versions 1 and 2 senders choose ids; the hash is of the whole content.
	j := p.verdicts.GetOrMake(e.ID()+" "+gjson.GetBytes(e.JSON(), "hashes.sha256").Str, func() *judged { return new(judged) })
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.known {
		return j.answer, j.refusal
	}
	refusal, err := p.judge(ctx, roomID, e)
	if err != nil {
		return "", err
	}
	if refusal != nil {
		p.events.WithLabelValues(string(refusal.Rule)).Inc()
		p.o.Log.Info("this policy server does not vouch for an event", "room", roomID, "event", e.ID(), "sender", e.Sender(), "type", e.Type(), "rule", refusal.Rule)
		j.known, j.refusal = true, forbidden("%s", refusal.Reason)
		return "", j.refusal
	}
	s, err := e.Sign(p.o.ServerName, p.o.Key)
	if err != nil {
		return "", err
	}
	p.events.WithLabelValues(signed).Inc()
	j.known, j.answer = true, s.Signatures()[p.o.ServerName][p.o.Key.ID]
	return j.answer, nil
}

func asksNobody(e *event.Event) bool {
	return e.Type() == room.PolicyType && e.IsState() && e.Tuple().StateKey == ""
}

// forbidden is how policy servers refuse (POST /_matrix/policy/v1/sign).
func forbidden(format string, args ...any) error {
	return mxerr.New(http.StatusBadRequest, "M_FORBIDDEN", format, args...)
}

// stored is the rule that nothing is signed which the room was not to see before.
const stored verdict.Rule = "stored"

func (p *Own) judge(ctx context.Context, roomID string, e *event.Event) (*verdict.Refusal, error) {
	row, known, err := p.o.Reader.Stored(ctx, roomID, e.ID())
	if err != nil {
		return nil, err
	}
	if known {
		switch vouched, err := p.vouched(&row, e); {
		case err != nil || vouched:
			return nil, err
		case row.Status == uint64(room.SoftFailed) || row.Status == uint64(room.Rejected):
			return &verdict.Refusal{Rule: stored, Reason: "the event was refused before"}, nil
		}
	}
	rules := p.o.Rules()
	facts, err := p.facts(ctx, roomID, e, rules)
	if err != nil {
		return nil, err
	}
	if refusal := rules.Judge(e, facts); refusal != nil || known || rules.Free(e, facts) {
		return refusal, nil
	}
	return p.count(ctx, roomID, e.Sender())
}

// vouched reports whether the event is stored with the signature that is asked for.
func (p *Own) vouched(row *schema.Event, e *event.Event) (bool, error) {
	old, err := event.FromStored(row.JSON, row.EventID, e.Version())
	if err != nil {
		return false, err
	}
	signature := old.Signatures()[p.o.ServerName][p.o.Key.ID]
	if signature == "" {
		return false, nil
	}
	s, err := e.WithSignature(p.o.ServerName, p.o.Key.ID, signature)
	return err == nil && s.VerifySignature(p.o.ServerName, p.o.Key.ID, p.o.Key.Public()) == nil, err
}

// count refuses what is more than a user may send. That is final, as all refusals are: a policy server cannot change its mind.
func (p *Own) count(ctx context.Context, roomID, userID string) (*verdict.Refusal, error) {
	err := p.o.Count(ctx, roomID, userID)
	var told *mxerr.Error
	if errors.As(err, &told) && told.Status == http.StatusTooManyRequests {
		return &verdict.Refusal{Rule: verdict.Rate, Reason: "you send too much here in too short a time"}, nil
	}
	return nil, err
}

// facts are what the rules want to know of the sender.
func (p *Own) facts(ctx context.Context, roomID string, e *event.Event, rules *verdict.Rules) (verdict.Facts, error) {
	var f verdict.Facts
	var state [2]*event.Event
	for i, typ := range [...]string{"m.room.create", "m.room.power_levels"} {
		row, ok, err := p.o.Reader.Current(ctx, roomID, typ, "")
		if err == nil && ok {
			state[i], err = event.FromStored(row.JSON, row.EventID, e.Version())
		}
		if err != nil {
			return f, err
		}
	}
	levels, err := auth.Levels(e.Version(), state[0], state[1])
	if err != nil {
		return f, err
	}
	level := levels.User(e.Sender())
	f.Power, f.Infinite = level.Int(), level.IsInfinite()
	if rules.NewcomerMS > 0 {
		f.JoinedMS, err = p.joined(ctx, roomID, e.Sender())
	}
	return f, err
}

// joined is how long a user is in the room. Who was in it before this server, or came in history that was fetched later, is no newcomer.
func (p *Own) joined(ctx context.Context, roomID, userID string) (ms int64, err error) {
	m, _, err := schema.Memberships.Get(ctx, p.o.Reader.Store(), schema.Membership{UserID: userID, RoomID: roomID})
	if err != nil || m.Membership != "join" {
		return 0, err
	}
	row, ok, err := schema.EventAt(ctx, p.o.Reader.Store(), roomID, m.JoinedSeq)
	switch {
	case err != nil:
		return 0, err
	case !ok || row.Seq >= schema.OutlierBase:
		return math.MaxInt64, nil
	}
	return p.o.Now().UnixMilli() - row.ReceivedTS, nil
}
