package sliding

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// MostTimeline is the most events of one room that an answer holds.
const MostTimeline = 100

// roomResults builds what is new in the chosen rooms, until the answer is full.
func (b *builder) roomResults() error {
	for _, r := range b.chosen {
		if b.budget <= 0 {
			r.postponed = true
			b.news = true
			continue
		}
		result, err := b.result(r)
		if err != nil {
			return err
		}
		if result == nil {
			continue
		}
		result.Membership, result.Lists = r.stamps.Membership, r.lists
		b.resp.Rooms[r.id] = result
		b.news = true
	}
	return nil
}

// result is what is new in a room, nil if there is nothing.
func (b *builder) result(r *room) (*Room, error) {
	switch r.stamps.Membership {
	case "join":
		return b.joined(r)
	case "invite", "knock":
		return b.invitation(r), nil
	}
	return b.left(r)
}

// invitation shows stripped state to whom is invited or knocks.
func (b *builder) invitation(r *room) *Room {
	if r.sent != nil && r.sent.Membership == r.stamps.Membership && r.stamps.Member <= r.sent.Events {
		return nil
	}
	s := b.becomes(r)
	s.Membership, s.Events = r.stamps.Membership, max(b.plan.Pos, r.invitation.Pos)
	s.Dm = b.direct[r.id]
	stripped := []jsontext.Value{}
	gjson.ParseBytes(r.invitation.StrippedState).ForEach(func(_, e gjson.Result) bool {
		stripped = append(stripped, jsontext.Value(e.Raw))
		return true
	})
	b.budget -= len(stripped)
	result := &Room{Initial: true, BumpStamp: r.invitation.Pos, StrippedState: stripped}
	if s.Dm {
		result.IsDM = &s.Dm
	}
	return result
}

// asksMore reports whether the request asks for more of a room than was sent, though nothing may have happened.
func (b *builder) asksMore(r *room) bool {
	return r.sent == nil || int64(r.timelineLimit()) > r.sent.TimelineLimit || r.config.State.key != b.askedWith(r.sent).key
}

func (r *room) timelineLimit() int { return min(r.config.TimelineLimit, MostTimeline) }

// joined gives a room that the user is in.
func (b *builder) joined(r *room) (*Room, error) {
	told := r.sent != nil && r.sent.Membership == "join"
	if told && r.stamps.Activity <= r.sent.Events && !b.asksMore(r) && r.sent.Dm == b.direct[r.id] {
		return b.recount(r)
	}
	access, err := b.reader.Access(b.ctx, r.id, b.req.UserID)
	if err != nil || !access.Joined() {
		return nil, err // what happened after the plan comes with the next one
	}
	last, ok, err := b.reader.Last(b.ctx, r.id, b.plan.Pos)
	if err != nil || !ok || access.Member.JoinedSeq > last.Seq {
		return nil, err
	}
	return b.stretch(r, access, last)
}

// recount gives the unread counts of a room in which nothing happened, if the user has read on.
func (b *builder) recount(r *room) (*Room, error) {
	if r.stamps.Receipts <= r.sent.Events {
		return nil, nil
	}
	read := false
	for row, err := range schema.Receipts.Scan(b.ctx, b.reader.Store(), persistence.Range[schema.Receipt]{
		Prefix: schema.Receipt{RoomID: r.id, UserID: b.req.UserID}, Keys: 2}) {
		if err != nil {
			return nil, err
		}
		read = read || row.Pos > r.sent.Events
	}
	s := b.becomes(r)
	s.Events = b.plan.Pos
	if !read {
		return nil, nil
	}
	last, ok, err := b.reader.Last(b.ctx, r.id, b.plan.Pos)
	if err != nil || !ok {
		return nil, err
	}
	result := &Room{}
	changed, err := b.count(result, s, r.id, last.Seq)
	if err != nil || !changed {
		return nil, err
	}
	return result, nil
}

// count adds the unread counts if they are not those that were sent.
func (b *builder) count(result *Room, s *sentRoom, roomID string, upto uint64) (bool, error) {
	counts, err := b.unread.Counts(b.newest, b.req.UserID, roomID, upto)
	if err != nil {
		return false, err
	}
	total := counts.Total()
	if !result.Initial && s.Notifications == total.Notify && s.Highlights == total.Highlight {
		return false, nil
	}
	s.Notifications, s.Highlights = total.Notify, total.Highlight
	result.NotificationCount, result.HighlightCount = &total.Notify, &total.Highlight
	return true, nil
}

// left gives a room that the user is no longer in: up to the end of the stay, if there was one.
func (b *builder) left(r *room) (*Room, error) {
	told := r.sent != nil && gone(r.sent.Membership)
	if told && r.stamps.Member <= r.sent.Events && !b.asksMore(r) {
		return nil, nil
	}
	access, err := b.reader.Access(b.ctx, r.id, b.req.UserID)
	if err != nil || !gone(access.Member.Membership) {
		return nil, err
	}
	if r.sent == nil && !access.WasJoined() {
		return nil, nil // a subscription to what the user may not see
	}
	own, err := b.reader.EventAt(b.ctx, r.id, access.Member.Seq)
	if err != nil {
		return nil, err
	}
	var result *Room
	if access.WasJoined() && (r.sent == nil || r.sent.Membership == "join" || told) {
		last := own
		if access.Member.LeftSeq != own.Seq {
			if last, err = b.reader.EventAt(b.ctx, r.id, access.Member.LeftSeq); err != nil {
				return nil, err
			}
		}
		result, err = b.stretch(r, access, last)
	} else {
		result, err = b.refusal(access, own)
	}
	if err != nil {
		return nil, err
	}
	s := b.becomes(r)
	s.Membership, s.Events = r.stamps.Membership, max(b.plan.Pos, own.Pos)
	s.TimelineLimit, s.state = int64(r.timelineLimit()), r.config.State
	if !r.stamps.Removed && !r.subscribed {
		b.forget(r) // the client knows that the user left, and needs no reminder
	}
	if result != nil {
		result.BumpStamp = own.Pos
	}
	return result, nil
}

// refusal is the end of an invite or a knock, or a ban of somebody who was not in the room: there is nothing to see but that.
func (b *builder) refusal(access *reader.Access, own schema.Event) (*Room, error) {
	events, err := access.Client(b.ctx, b.view(false), own)
	if err != nil {
		return nil, err
	}
	return &Room{RequiredState: events, Timeline: events, Limited: new(false), NumLive: new(1),
		PrevBatch: token.Timeline{Seq: own.Seq - 1}.String()}, nil
}

func (b *builder) view(bundle bool) reader.View {
	return reader.View{DeviceID: b.req.DeviceID, Bundle: bundle}
}

// text writes a JSON string, or null for an empty one.
func text(s string) jsontext.Value {
	if s == "" {
		return jsontext.Value("null")
	}
	return canonicaljson.AppendString(nil, s)
}

// bump is the newest event of a room that counts as activity, as found when the room had so many events.
type bump struct{ upto, pos uint64 }

// bumpScan is how far back an event that counts is looked for.
const bumpScan = 1000

// bumps reports whether events of the type move a room up (MSC4186, bump_stamp).
func bumps(typ string) bool {
	switch typ {
	case "m.room.create", "m.room.message", "m.room.encrypted", "m.sticker", "m.call.invite", "m.poll.start", "m.beacon_info":
		return true
	}
	return false
}

// bumpOf is the position of the newest event up to last that counts as activity.
func (b *builder) bumpOf(roomID string, last schema.Event) (uint64, error) {
	known, ok := b.bumps.Get(roomID)
	if ok && known.upto == last.Seq {
		return known.pos, nil
	}
	if !ok || known.upto > last.Seq {
		known = bump{}
	}
	found := bump{upto: last.Seq, pos: known.pos}
	for row, err := range schema.Events.Scan(b.ctx, b.reader.Store(), persistence.Range[schema.Event]{
		Prefix: schema.Event{RoomID: roomID}, Keys: 1, Reverse: true, Limit: bumpScan,
		From: &schema.Event{Seq: known.upto + 1}, Before: &schema.Event{Seq: last.Seq + 1}}) {
		if err != nil {
			return 0, err
		}
		if row.Status == schema.Accepted && bumps(row.Type) {
			found.pos = row.Pos
			break
		}
	}
	if found.pos == 0 {
		// The create event, or that with which this server came into the room.
		begin := schema.Timeline(roomID)
		begin.Limit = 1
		first, err := schema.Events.All(b.ctx, b.reader.Store(), begin)
		if err != nil {
			return 0, err
		}
		if len(first) > 0 {
			found.pos = first[0].Pos
		}
	}
	b.bumps.Set(roomID, found)
	return found.pos, nil
}

// hero shows a member who helps to name a room.
func hero(row schema.Event) Hero {
	content := gjson.GetBytes(row.JSON, "content")
	return Hero{UserID: *row.StateKey, DisplayName: content.Get("displayname").Str, AvatarURL: content.Get("avatar_url").Str}
}
