package reader

import (
	"context"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/persistence/schema"
)

// View says for whom and how events are shown.
type View struct {
	DeviceID string
	// RoomID puts room_id into the events; sync leaves it out, because it groups by room.
	RoomID bool
	// Federation shows the PDU as servers exchange it (event_format of a filter).
	Federation bool
	// Bundle adds the aggregations of child events.
	Bundle bool
	// whole shows everything, and nobody's membership.
	whole bool
}

// Whole turns an event into what an application service gets, whatever users may see (application service API, "Pushing events").
func (r *Reader) Whole(ctx context.Context, row schema.Event) (jsontext.Value, error) {
	return (&Access{r: r, RoomID: row.RoomID}).client(ctx, View{RoomID: true, whole: true}, &row)
}

// Client turns events into what the user's client gets (client-server API, "Room event format").
func (a *Access) Client(ctx context.Context, v View, rows ...schema.Event) ([]jsontext.Value, error) {
	out := make([]jsontext.Value, len(rows))
	for i := range rows {
		e, err := a.client(ctx, v, &rows[i])
		if err != nil {
			return nil, err
		}
		out[i] = e
	}
	return out, nil
}

func (a *Access) client(ctx context.Context, v View, row *schema.Event) (jsontext.Value, error) {
	if erased, err := a.Erased(ctx, row); err != nil {
		return nil, err
	} else if erased && !v.whole {
		shown := *row
		if shown.JSON, err = a.r.redacted(ctx, row); err != nil {
			return nil, err
		}
		row, v.Bundle = &shown, false
	}
	unsigned, err := a.unsigned(ctx, v, row)
	if err != nil {
		return nil, err
	}
	if v.Federation {
		return appendFederation(row, unsigned), nil
	}
	return appendClient(v, row, unsigned), nil
}

// appendClient writes the client format, member by member.
func appendClient(v View, row *schema.Event, unsigned []byte) jsontext.Value {
	content := gjson.GetBytes(row.JSON, "content").Raw
	redacts := redacts(row)
	b := make([]byte, 0, len(content)+len(unsigned)+512)
	b = append(b, `{"content":`...)
	b = appendContent(b, row, content, redacts)
	b = appendString(b, `,"event_id":`, row.EventID)
	if ms := event.StickyMS(row.JSON); ms != 0 {
		b = append(strconv.AppendInt(append(b, `,"`+event.StickyKey+`":{"duration_ms":`...), ms, 10), '}')
	}
	b = append(b, `,"origin_server_ts":`...)
	b = strconv.AppendInt(b, row.OriginServerTS, 10)
	if redacts != "" {
		b = appendString(b, `,"redacts":`, redacts)
	}
	if v.RoomID {
		b = appendString(b, `,"room_id":`, row.RoomID)
	}
	b = appendString(b, `,"sender":`, row.Sender)
	if row.StateKey != nil {
		b = appendString(b, `,"state_key":`, *row.StateKey)
	}
	b = appendString(b, `,"type":`, row.Type)
	b = append(append(b, `,"unsigned":`...), unsigned...)
	return append(b, '}')
}

// appendFederation writes the PDU with the unsigned part.
func appendFederation(row *schema.Event, unsigned []byte) jsontext.Value {
	b := make([]byte, 0, len(row.JSON)+len(unsigned)+64)
	b = append(b, row.JSON[:len(row.JSON)-1]...)
	b = append(append(b, `,"unsigned":`...), unsigned...)
	return append(b, '}')
}

// redacts gives the id that a redaction names, wherever its room version puts it.
func redacts(row *schema.Event) string {
	if row.Type != "m.room.redaction" {
		return ""
	}
	if id := gjson.GetBytes(row.JSON, "content.redacts"); id.Type == gjson.String {
		return id.Str
	}
	return gjson.GetBytes(row.JSON, "redacts").Str
}

// appendContent writes the content; clients find what a redaction redacts there too, in every room version (room version 11).
func appendContent(b []byte, row *schema.Event, content, redacts string) []byte {
	if redacts == "" || gjson.Get(content, "redacts").Exists() {
		return append(b, content...)
	}
	b = append(b, content[:len(content)-1]...)
	if len(content) > len("{}") {
		b = append(b, ',')
	}
	b = appendString(b, `"redacts":`, redacts)
	return append(b, '}')
}

func appendString(b []byte, name, value string) []byte {
	return canonicaljson.AppendString(append(b, name...), value)
}

// unsigned writes what the server adds to an event (client-server API, "UnsignedData").
func (a *Access) unsigned(ctx context.Context, v View, row *schema.Event) ([]byte, error) {
	b := make([]byte, 0, 256)
	b = append(b, `{"age":`...)
	b = strconv.AppendInt(b, a.r.now().UnixMilli()-row.OriginServerTS, 10)
	if !v.whole {
		membership, err := a.MembershipAt(ctx, row)
		if err != nil {
			return nil, err
		}
		b = appendString(b, `,"membership":`, membership)
	}
	if row.TxnID != "" && row.Sender == a.UserID && row.DeviceID == v.DeviceID {
		b = appendString(b, `,"transaction_id":`, row.TxnID)
	}
	if row.DeviceID == room.DelayedDevice && row.Sender == a.UserID {
		b = appendString(b, `,"org.matrix.msc4140.delay_id":`, row.TxnID)
	}
	if left := event.StickyUntil(row.JSON, row.OriginServerTS, row.ReceivedTS) - a.r.now().UnixMilli(); left > 0 {
		b = strconv.AppendInt(append(b, `,"`+event.StickyKey+`_duration_ttl_ms":`...), left, 10)
	}
	var err error
	if row.ReplacesSeq != 0 {
		if b, err = a.appendReplaced(ctx, b, v, row); err != nil {
			return nil, err
		}
	}
	if row.RedactedBy != "" {
		if b, err = a.appendRedaction(ctx, b, v, row); err != nil {
			return nil, err
		}
	} else if v.Bundle && row.StateKey == nil {
		if b, err = a.appendBundle(ctx, b, v, row); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendReplaced tells of the state event that this one replaced; its content only to those who may see it.
func (a *Access) appendReplaced(ctx context.Context, b []byte, v View, row *schema.Event) ([]byte, error) {
	old, err := a.r.EventAt(ctx, a.RoomID, row.ReplacesSeq)
	if err != nil {
		return nil, err
	}
	b = appendString(b, `,"replaces_state":`, old.EventID)
	if !v.whole {
		if sees, err := a.Sees(ctx, &old); err != nil || !sees {
			return b, err
		}
		if erased, err := a.Erased(ctx, &old); err != nil || erased {
			return b, err
		}
	}
	b = append(append(b, `,"prev_content":`...), gjson.GetBytes(old.JSON, "content").Raw...)
	return appendString(b, `,"prev_sender":`, old.Sender), nil
}

func (a *Access) appendRedaction(ctx context.Context, b []byte, v View, row *schema.Event) ([]byte, error) {
	redaction, ok, err := a.r.Event(ctx, a.RoomID, row.RedactedBy)
	if err != nil || !ok {
		return b, err
	}
	v.Bundle, v.RoomID, v.Federation = false, true, false
	e, err := a.client(ctx, v, &redaction)
	if err != nil {
		return nil, err
	}
	return append(append(b, `,"redacted_because":`...), e...), nil
}

// Stripped gives the stripped form of state events (client-server API, "Stripped state").
func Stripped(rows ...schema.Event) []jsontext.Value {
	return stripped(rows, func(b []byte, _ *schema.Event) []byte { return b })
}

// StrippedAt is Stripped with the origin_server_ts of the events, as for the children of a space.
func StrippedAt(rows ...schema.Event) []jsontext.Value {
	return stripped(rows, func(b []byte, row *schema.Event) []byte {
		return strconv.AppendInt(append(b, `,"origin_server_ts":`...), row.OriginServerTS, 10)
	})
}

func stripped(rows []schema.Event, more func([]byte, *schema.Event) []byte) []jsontext.Value {
	out := make([]jsontext.Value, len(rows))
	for i := range rows {
		row := &rows[i]
		b := append([]byte(`{"content":`), gjson.GetBytes(row.JSON, "content").Raw...)
		b = more(b, row)
		b = appendString(b, `,"sender":`, row.Sender)
		if row.StateKey != nil {
			b = appendString(b, `,"state_key":`, *row.StateKey)
		}
		b = appendString(b, `,"type":`, row.Type)
		out[i] = append(b, '}')
	}
	return out
}
