// Package policy asks rooms' policy servers whether events should be in the room (server-server API, "Policy Servers").
package policy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
)

// Servers asks policy servers. It is safe for concurrent use.
type Servers struct {
	Caller federation.Caller
	Reader *reader.Reader
	// Own is this server as a policy server, which is asked without a request; nil: it is none.
	Own   *Own
	Rooms cluster.Caller
	Log   *slog.Logger
}

// The bounds of asking.
const (
	patience    = 10 * time.Second
	answerLimit = 64 << 10
	atOnce      = 8 // events of one transaction that are asked about at a time
)

// Approve has the server sign an event of this server, and gives its signature. The room's actor has it called, beside itself. Errors are
// *mxerr.Error: what the policy server refuses with, as it says it, or 502 M_UNKNOWN when it gives no answer that counts.
func (s *Servers) Approve(ctx context.Context, server room.PolicyServer, e *event.Event) (string, error) {
	if s.Own.Serves(server) {
		return s.Own.Sign(ctx, e.RoomID(), e)
	}
	return s.ask(ctx, server.Name, e, true)
}

func (s *Servers) ask(ctx context.Context, server string, e *event.Event, eager bool) (string, error) {
	raw, err := s.Caller.Call(ctx, federation.Request{Destination: server, Method: http.MethodPost, URI: "/_matrix/policy/v1/sign",
		Body: e.JSON(), Limit: answerLimit, Timeout: patience, Eager: eager})
	var refusal *federation.Error
	switch {
	case errors.As(err, &refusal):
		return "", refused(server, refusal)
	case err != nil:
		return "", unavailable("the policy server %s of this room does not answer, so that nothing can be sent here for now", server)
	}
	var answer map[string]jsontext.Value
	var keys map[string]string
	if err := json.Unmarshal(raw, &answer); err == nil {
		_ = json.Unmarshal(answer[server], &keys) // what is no list of signatures has no signature in it
	}
	if keys[room.PolicyKeyID] == "" {
		return "", unavailable("the policy server %s of this room neither signs nor refuses the event", server)
	}
	return keys[room.PolicyKeyID], nil
}

// refused is what the policy server answers, for the client.
func refused(server string, e *federation.Error) error {
	switch {
	case e.Status >= http.StatusInternalServerError, e.Code == "M_UNRECOGNIZED":
		return unavailable("the policy server %s of this room cannot say whether the event may be sent: %s", server, e.Message)
	case e.Status == http.StatusTooManyRequests:
		return mxerr.LimitExceeded(max(gjson.GetBytes(e.Body, "retry_after_ms").Int(), 1000))
	}
	return mxerr.New(e.Status, e.Code, "%s", e.Message)
}

func unavailable(format string, args ...any) error {
	return mxerr.New(http.StatusBadGateway, "M_UNKNOWN", format, args...)
}

// Vouch makes of events that are to enter the room what the room takes: those that its policy server does not vouch for, even when asked, will
// be soft-failed. In a room without a policy server it asks nobody.
func (s *Servers) Vouch(ctx context.Context, roomID string, events ...*event.Event) ([]*messages.Pdu, error) {
	out := make([]*messages.Pdu, len(events))
	for i, e := range events {
		out[i] = pdus.Message(e)
	}
	server, ok, err := s.of(ctx, roomID)
	if err != nil || !ok {
		return out, err
	}
	var asking errgroup.Group
	asking.SetLimit(atOnce)
	for i, e := range events {
		if server.Vouches(e) {
			continue
		}
		asking.Go(func() error {
			signed, err := s.signed(ctx, server, e, false)
			if err != nil && s.Own.Serves(server) && mxerr.MayPass(err) {
				return err // of this server, which can ask itself again
			}
			if err != nil {
				s.Log.Info("a room's policy server does not vouch for an event", "room", roomID, "event", e.ID(), "server", server.Name, "error", err)
				out[i].SoftFail = true
				return nil
			}
			out[i].Json = signed.JSON()
			return nil
		})
	}
	return out, asking.Wait()
}

// Signed gives an event of this server, not yet in the room, with its policy server's signature if the room needs one. Errors are those of
// Approve, and of the store.
func (s *Servers) Signed(ctx context.Context, roomID string, e *event.Event) (*event.Event, error) {
	server, ok, err := s.of(ctx, roomID)
	if err != nil || !ok || server.Vouches(e) {
		return e, err
	}
	return s.signed(ctx, server, e, true)
}

func (s *Servers) signed(ctx context.Context, server room.PolicyServer, e *event.Event, eager bool) (*event.Event, error) {
	signature, err := s.signature(ctx, server, e, eager)
	if err != nil {
		return nil, err
	}
	signed, err := e.WithSignature(server.Name, room.PolicyKeyID, signature)
	if err == nil && !server.Vouches(signed) {
		err = mxerr.Forbidden("the policy server %s of this room did not sign the event with the key that the room knows", server.Name)
	}
	return signed, err
}

func (s *Servers) signature(ctx context.Context, server room.PolicyServer, e *event.Event, eager bool) (string, error) {
	if !s.Own.Serves(server) {
		return s.ask(ctx, server.Name, e, eager)
	}
	return Vouch(ctx, s.Rooms, e)
}

// Vouch has a room whose policy server this server is sign an event, whose own signatures are right. Errors are *mxerr.Error: 400 M_FORBIDDEN when
// this server does not vouch for it, 404 M_NOT_FOUND when the room has another policy server, or none.
func Vouch(ctx context.Context, rooms cluster.Caller, e *event.Event) (string, error) {
	answer, err := cluster.Ask[*messages.Vouched](ctx, rooms, cluster.Identity{Kind: cluster.KindRoom, ID: e.RoomID()}, &messages.VouchForEvent{Json: e.JSON()})
	return answer.GetSignature(), err
}

// Answer gives the signature that Vouch asks for. The room's actor has it called, beside itself.
func (s *Servers) Answer(ctx context.Context, roomID string, raw []byte) (string, error) {
	server, ok, err := s.of(ctx, roomID)
	switch {
	case err != nil:
		return "", err
	case !ok || !s.Own.Serves(server):
		return "", mxerr.NotFound("this server is not the policy server of the room %s", roomID)
	}
	version, err := s.Reader.Version(ctx, roomID)
	if err != nil {
		return "", err
	}
	e, err := event.Parse(raw, version)
	if err != nil {
		return "", err
	}
	return s.Own.Sign(ctx, roomID, e)
}

// of is the policy server that the room uses.
func (s *Servers) of(ctx context.Context, roomID string) (room.PolicyServer, bool, error) {
	row, ok, err := s.Reader.Current(ctx, roomID, room.PolicyType, "")
	if err != nil || !ok {
		return room.PolicyServer{}, false, err
	}
	server, ok := room.PolicyServerOf([]byte(gjson.GetBytes(row.JSON, "content").Raw))
	if !ok {
		return server, false, nil
	}
	resident, err := s.Reader.Resident(ctx, roomID, server.Name)
	return server, resident, err
}
