package kill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// The events and data of this test.
const (
	stateType  = "test.state"
	deviceType = "test.to_device"
	dataType   = "test.data"
	redaction  = "m.room.redaction"
	message    = "m.room.message"
	password   = "the same for all"
)

// J is a JSON object.
type J = matrixclient.J

// sender does one thing after another, each until it is acknowledged.
type sender struct {
	*matrixclient.Client
	name    string
	rooms   []string
	devices map[string][]string // whom it sends to-device messages to: device ids by user
	rng     *rand.Rand
	ledger  *ledger

	n       int64 // counts what it does; every content has its own number
	answers []answered
	latest  map[string]string // its newest event by room
}

// answered is a request with a transaction id and its answer.
type answered struct {
	repeat  func(context.Context) (string, error)
	eventID string
}

// run does things until stop is closed.
func (s *sender) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := s.act(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.UserID, err)
		}
	}
}

// act does one thing.
func (s *sender) act(ctx context.Context) error {
	s.n++
	room := s.rooms[s.rng.IntN(len(s.rooms))]
	switch p := s.rng.IntN(100); {
	case p < 58:
		return s.say(ctx, room)
	case p < 66:
		return s.setState(ctx, room)
	case p < 70:
		return s.redact(ctx, room)
	case p < 78:
		return s.repeat(ctx)
	case p < 84:
		return s.toDevice(ctx, s.n)
	case p < 89:
		return s.setData(ctx, room)
	case p < 94:
		return s.receipt(ctx, room)
	case p < 96:
		return s.newcomer(ctx, room)
	case p < 98:
		return s.session(ctx)
	default:
		return s.rename(ctx)
	}
}

// transact makes a request with a new transaction id and notes the event.
func (s *sender) transact(ctx context.Context, room string, request func(ctx context.Context, txnID string) (string, error)) error {
	txnID := "txn" + strconv.FormatInt(s.n, 10)
	repeat := func(ctx context.Context) (string, error) { return request(ctx, txnID) }
	eventID, err := repeat(ctx)
	if err != nil {
		return err
	}
	s.ledger.event(room, eventID, s.UserID)
	s.answers = append(s.answers, answered{repeat, eventID})
	return nil
}

func (s *sender) say(ctx context.Context, room string) error {
	content := J{"msgtype": "m.text", "body": fmt.Sprintf("message %d of %s", s.n, s.name), "n": s.n}
	err := s.transact(ctx, room, func(ctx context.Context, txnID string) (string, error) {
		return s.Send(ctx, room, message, txnID, content)
	})
	if err == nil {
		s.latest[room] = s.answers[len(s.answers)-1].eventID
	}
	return err
}

// setState sets the sender's own state, so that the same state twice in a row comes of a repeated request only.
func (s *sender) setState(ctx context.Context, room string) error {
	eventID, err := s.SetState(ctx, room, stateType, s.UserID, J{"n": s.n})
	if err != nil {
		return err
	}
	s.ledger.event(room, eventID, s.UserID)
	s.ledger.note(func() { s.ledger.state[[2]string{room, s.UserID}] = s.n })
	return nil
}

func (s *sender) redact(ctx context.Context, room string) error {
	target := s.latest[room]
	if target == "" {
		return nil
	}
	delete(s.latest, room)
	err := s.transact(ctx, room, func(ctx context.Context, txnID string) (string, error) {
		return s.Redact(ctx, room, target, txnID)
	})
	if err == nil {
		s.ledger.note(func() { s.ledger.redacted[target] = true })
	}
	return err
}

// repeat makes one of all earlier requests again.
func (s *sender) repeat(ctx context.Context) error {
	if len(s.answers) == 0 {
		return nil
	}
	i := s.rng.IntN(len(s.answers))
	eventID, err := s.answers[i].repeat(ctx)
	if err == nil && eventID != s.answers[i].eventID {
		err = fmt.Errorf("request %d of %d with a transaction id was answered with %s, and repeated, with %s",
			i, len(s.answers), s.answers[i].eventID, eventID)
	}
	return err
}

// toDevice sends n to all devices.
func (s *sender) toDevice(ctx context.Context, n int64) error {
	messages := J{}
	for user, devices := range s.devices {
		contents := J{}
		for _, device := range devices {
			contents[device] = J{"n": n}
		}
		messages[user] = contents
	}
	path := matrixclient.Path("sendToDevice", deviceType, "txn"+strconv.FormatInt(n, 10))
	if _, err := s.Do(ctx, http.MethodPut, path, J{"messages": messages}); err != nil {
		return err
	}
	s.ledger.note(func() { s.ledger.toDevice[s.UserID] = append(s.ledger.toDevice[s.UserID], n) })
	return nil
}

func (s *sender) setData(ctx context.Context, room string) error {
	path, of := matrixclient.Path("user", s.UserID, "account_data", dataType), ""
	if s.rng.IntN(2) == 0 {
		path, of = matrixclient.Path("user", s.UserID, "rooms", room, "account_data", dataType), room
	}
	if _, err := s.Do(ctx, http.MethodPut, path, J{"n": s.n}); err != nil {
		return err
	}
	s.ledger.note(func() { s.ledger.data[[2]string{s.UserID, of}] = s.n })
	return nil
}

func (s *sender) receipt(ctx context.Context, room string) error {
	read := s.latest[room]
	if read == "" {
		return nil
	}
	if _, err := s.Do(ctx, http.MethodPost, matrixclient.Path("rooms", room, "receipt", "m.read", read), J{}); err != nil {
		return err
	}
	s.ledger.note(func() { s.ledger.receipts[[2]string{s.UserID, room}] = read })
	return nil
}

// newcomer registers somebody, who joins the room and says something.
func (s *sender) newcomer(ctx context.Context, room string) error {
	name := fmt.Sprintf("%s-newcomer%d", s.name, s.n)
	u, err := s.Register(ctx, name, password)
	if refused(err, "M_USER_IN_USE") { // the account was made, and the answer was lost
		u, err = s.Login(ctx, name, password, "")
	}
	if err != nil {
		return err
	}
	s.ledger.note(func() { s.ledger.passwords[name] = u; s.ledger.sessions = append(s.ledger.sessions, u) })
	if err := u.Join(ctx, room); err != nil {
		return err
	}
	s.ledger.note(func() { s.ledger.joined[room] = append(s.ledger.joined[room], u.UserID) })
	eventID, err := u.Send(ctx, room, message, "first", J{"msgtype": "m.text", "body": "hello from " + name})
	if err == nil {
		s.ledger.event(room, eventID, u.UserID)
	}
	return err
}

// session logs the sender in on another device, and every other time out again.
func (s *sender) session(ctx context.Context) error {
	u, err := s.Login(ctx, s.name, password, fmt.Sprintf("DEVICE%d", s.n))
	if err != nil {
		return err
	}
	if s.rng.IntN(2) == 0 {
		s.ledger.note(func() { s.ledger.sessions = append(s.ledger.sessions, u) })
		return nil
	}
	if _, err = u.Do(ctx, http.MethodPost, "/logout", J{}); err != nil && !refused(err, "M_UNKNOWN_TOKEN") {
		return err // an unknown token: the session was ended, and the answer was lost
	}
	s.ledger.note(func() { s.ledger.ended = append(s.ledger.ended, u) })
	return nil
}

func (s *sender) rename(ctx context.Context) error {
	name := fmt.Sprintf("%s the %d.", s.name, s.n)
	if _, err := s.Do(ctx, http.MethodPut, matrixclient.Path("profile", s.UserID, "displayname"), J{"displayname": name}); err != nil {
		return err
	}
	s.ledger.note(func() { s.ledger.names[s.UserID] = name })
	return nil
}

// refused says whether the error is a refusal with the errcode.
func refused(err error, code string) bool {
	var r *matrixclient.Refusal
	return errors.As(err, &r) && r.Code == code
}
