package federation

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/actors/federation/policy"
	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
)

// The bounds of one transaction (server-server API, "Transactions").
const (
	mostPDUs           = 50
	mostEDUs           = 100
	largestTransaction = 16 << 20
	// roomsAtOnce is how many rooms of one transaction are told at a time; sendPatience bounds it all.
	roomsAtOnce  = 4
	sendPatience = 4 * time.Minute
)

// EDU is a note of another server that is not part of a room's history.
type EDU struct {
	Type    string         `json:"edu_type"`
	Content jsontext.Value `json:"content"`
}

// TransactionOptions are what taking transactions needs besides Deps.
type TransactionOptions struct {
	Verifier *verify.Verifier
	Policy   *policy.Servers
	// Ended takes an event that ends the invite or knock of a user of this server in a room that nobody of this server is in, and gives
	// its id; empty: it is no such event.
	Ended func(ctx context.Context, roomID string, raw []byte) (eventID string, err error)
	// Originals puts events as their senders' servers have them in the place of those that were changed on their way.
	Originals func(ctx context.Context, roomID, origin string, events []*event.Event) error
	// Stage keeps events that their room cannot take for want of others, or of the keys that they are signed with, durably, and fetches those.
	Stage func(ctx context.Context, roomID, origin string, events []*messages.Pdu) error
	// EDUs takes the EDUs of one server, in order. It returns an error only when they should come again.
	EDUs func(ctx context.Context, origin string, edus []EDU) error
}

type transactions struct {
	Deps
	TransactionOptions
}

// Transactions takes what other servers send (PUT /send/{txnId}).
func Transactions(d Deps, o TransactionOptions) []api.Endpoint {
	h := &transactions{d, o}
	return []api.Endpoint{{Methods: put, Path: v1 + "/send/{txnId}", Auth: api.Signed, Limit: api.LimitFederation, MaxBody: largestTransaction, Handler: h.send}}
}

// send takes a transaction, in its turn: those of one server are taken one after the other, and the same one has the same answer.
func (h *transactions) send(r *api.Request) (any, error) {
	var body struct {
		PDUs []jsontext.Value `json:"pdus"`
		EDUs []EDU            `json:"edus"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	txnID := r.Vars["txnId"]
	switch {
	case len(txnID) > 255:
		return nil, mxerr.InvalidParam("a transaction id has at most 255 bytes")
	case len(body.PDUs) > mostPDUs:
		return nil, mxerr.New(http.StatusBadRequest, "M_TOO_LARGE", "a transaction has at most %d PDUs", mostPDUs)
	case len(body.EDUs) > mostEDUs:
		return nil, mxerr.New(http.StatusBadRequest, "M_TOO_LARGE", "a transaction has at most %d EDUs", mostEDUs)
	}
	// The other server may hang up; what it has sent is taken all the same, so that it finds the answer when it asks again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Ctx), sendPatience)
	defer cancel()
	origin := cluster.Identity{Kind: cluster.KindDestination, ID: r.Origin}
	turn, err := cluster.Ask[*messages.TransactionTurn](r.Ctx, h.Caller, origin, &messages.BeginTransaction{TxnId: txnID})
	if err != nil {
		return nil, err
	}
	if len(turn.Answer) > 0 {
		return jsontext.Value(turn.Answer), nil
	}
	answer, failure := h.take(ctx, r.Origin, body.PDUs, body.EDUs)
	_, err = cluster.Ask[*messages.Done](ctx, h.Caller, origin, &messages.EndTransaction{TxnId: txnID, Turn: turn.Turn, Answer: answer})
	if failure != nil {
		return nil, failure
	}
	return jsontext.Value(answer), err
}

// take gives the answer to a transaction; an error is one after which it should come again.
func (h *transactions) take(ctx context.Context, origin string, raws []jsontext.Value, edus []EDU) ([]byte, error) {
	results := &fates{of: map[string]fate{}}
	rooms := map[string][][]byte{}
	var order []string
	for _, raw := range raws {
		roomID := gjson.GetBytes(raw, "room_id").Str
		if rooms[roomID] == nil {
			order = append(order, roomID)
		}
		rooms[roomID] = append(rooms[roomID], raw)
	}
	group, telling := errgroup.WithContext(ctx)
	group.SetLimit(roomsAtOnce)
	for _, roomID := range order {
		group.Go(func() error { return h.tell(telling, origin, roomID, rooms[roomID], results) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if len(edus) > 0 && h.EDUs != nil {
		if err := h.EDUs(ctx, origin, edus); err != nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]any{"pdus": results.of}, json.Deterministic(true))
}

// fate is the result of one PDU, as the answer has it.
type fate struct {
	Error string `json:"error,omitempty"`
}

type fates struct {
	mu sync.Mutex
	of map[string]fate
}

func (f *fates) set(eventID, refusal string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[eventID] = fate{refusal}
}

// tell gives the room its events, in order.
func (h *transactions) tell(ctx context.Context, origin, roomID string, raws [][]byte, results *fates) error {
	version, err := h.Reader.Version(ctx, roomID)
	if err == nil {
		err = Admitted(ctx, h.Deps, roomID, origin)
	}
	if err != nil {
		return h.unknown(ctx, roomID, raws, version, err, results)
	}
	var good []*event.Event
	var later []*messages.Pdu // that cannot be checked yet
	for i, r := range h.Verifier.PDUs(ctx, raws, version) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.Err == nil:
			good = append(good, r.Event)
		case verify.Later(r.Err) && h.mayCome(ctx, origin, roomID, raws[i], version):
			e, err := event.Parse(raws[i], version)
			if err != nil {
				return err
			}
			later = append(later, pdus.Message(e))
			results.set(e.ID(), "")
		default:
			h.Log.Info("an event of another server is dropped", "room", roomID, "server", origin, "error", r.Err)
			if err := h.refused(raws[i:i+1], version, r.Err, results); err != nil {
				return err
			}
		}
	}
	if len(later) > 0 {
		if err := h.Stage(ctx, roomID, origin, later); err != nil {
			return err
		}
	}
	if len(good) == 0 {
		return nil
	}
	if err := h.Originals(ctx, roomID, origin, good); err != nil {
		return err
	}
	request := &messages.ReceivePdus{Origin: origin}
	if request.Pdus, err = h.Policy.Vouch(ctx, roomID, good...); err != nil {
		return err
	}
	answer, err := askRoom[*messages.PduResults](ctx, h.Deps, roomID, request)
	if err != nil && mxerr.MayPass(err) {
		// One room that cannot take its events now must not hold up all others of the server.
		for _, p := range request.Pdus {
			results.set(p.EventId, "")
		}
		return h.Stage(ctx, roomID, origin, request.Pdus)
	}
	if err != nil {
		return h.unknown(ctx, roomID, raws, version, err, results)
	}
	var missing []*messages.Pdu
	for i, r := range answer.Results {
		switch r.Status {
		case messages.PduResult_REJECTED:
			results.set(r.EventId, r.Reason)
		case messages.PduResult_MISSING:
			missing = append(missing, request.Pdus[i])
			results.set(r.EventId, "")
		default:
			results.set(r.EventId, "")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return h.Stage(ctx, roomID, origin, missing)
}

// mayCome reports whether an event whose signatures cannot be checked yet is worth waiting for: its sender's server is in the room, and is not
// the one that sends it, whose keys are known.
func (h *transactions) mayCome(ctx context.Context, origin, roomID string, raw []byte, version *roomversion.Version) bool {
	e, err := event.Parse(raw, version)
	if err != nil || e.RoomID() != roomID {
		return false
	}
	server := id.ServerOf(e.Sender())
	if server == origin {
		return false
	}
	resident, err := h.Reader.Resident(ctx, roomID, server)
	return err == nil && resident
}

// unknown notes that events are not taken, but for those that end invites, which come from rooms that are not known here.
func (h *transactions) unknown(ctx context.Context, roomID string, raws [][]byte, version *roomversion.Version, err error, results *fates) error {
	if mxerr.From(err).Status != http.StatusNotFound {
		return h.refused(raws, version, err, results)
	}
	for i, raw := range raws {
		eventID, failure := h.Ended(ctx, roomID, raw)
		switch {
		case failure != nil && mxerr.MayPass(failure):
			return failure
		case failure == nil && eventID != "":
			results.set(eventID, "")
		default:
			if err := h.refused(raws[i:i+1], version, err, results); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused notes why events are not taken. What may pass is an error: the transaction comes again then.
func (h *transactions) refused(raws [][]byte, version *roomversion.Version, err error, results *fates) error {
	if mxerr.MayPass(err) {
		return err
	}
	known := mxerr.From(err)
	for _, raw := range raws {
		if eventID := idOf(raw, version); eventID != "" {
			results.set(eventID, known.Message)
		}
	}
	return nil
}

// idOf is the id of a PDU, "" when it cannot be told: in room versions 1 and 2 it says it itself, and that of others depends on the version.
func idOf(raw []byte, version *roomversion.Version) string {
	if version == nil {
		return gjson.GetBytes(raw, "event_id").Str
	}
	e, err := event.Parse(raw, version)
	if err != nil {
		return ""
	}
	return e.ID()
}
