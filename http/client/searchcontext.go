package client

import (
	"math"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/search"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/persistence/schema"
)

// resultContext are the events around a result.
type resultContext struct {
	Start    string                       `json:"start"`
	End      string                       `json:"end"`
	Before   []jsontext.Value             `json:"events_before"`
	After    []jsontext.Value             `json:"events_after"`
	Profiles map[string]map[string]string `json:"profile_info,omitzero"`
}

// searchContext reads the events around a result that the user may see, the nearest first.
func (h *rooms) searchContext(r *api.Request, c *checkedSearch, found search.Found, profiles bool) (*resultContext, error) {
	a, row := found.Access, found.Event
	before, after := reader.Stretch{End: row.Seq - 1}, reader.Stretch{End: row.Seq}
	var err error
	if c.before > 0 {
		if before, err = a.Read(r.Ctx, reader.Page{From: row.Seq - 1, Backwards: true, Limit: c.before}); err != nil {
			return nil, err
		}
	}
	if c.after > 0 {
		if after, err = a.Read(r.Ctx, reader.Page{From: row.Seq, To: math.MaxUint64, Limit: c.after}); err != nil {
			return nil, err
		}
	}
	shown, err := events(r, a, slices.Concat(before.Events, after.Events))
	if err != nil {
		return nil, err
	}
	context := &resultContext{Start: token.Timeline{Seq: before.End}.String(), End: token.Timeline{Seq: after.End}.String(),
		Before: shown[:len(before.Events)], After: shown[len(before.Events):]}
	if profiles {
		context.Profiles, err = h.historicProfiles(r, row, slices.Concat(before.Events, after.Events, []schema.Event{row}))
	}
	return context, err
}

// historicProfiles gives the profiles that the senders of the events had in the room at the result.
func (h *rooms) historicProfiles(r *api.Request, result schema.Event, rows []schema.Event) (map[string]map[string]string, error) {
	s, err := h.Reader.StateAt(r.Ctx, result.RoomID, result.StateAfter)
	if err != nil {
		return nil, err
	}
	profiles := map[string]map[string]string{}
	for _, row := range rows {
		if profiles[row.Sender] != nil {
			continue
		}
		member, ok, err := s.Get(r.Ctx, "m.room.member", row.Sender)
		if err != nil {
			return nil, err
		}
		if ok {
			profiles[row.Sender] = memberProfile(gjson.GetBytes(member.JSON, "content"))
		}
	}
	return profiles, nil
}

// memberProfile is the profile that a member event holds.
func memberProfile(content gjson.Result) map[string]string {
	profile := map[string]string{}
	for _, field := range []string{displayName, avatarURL} {
		if v := content.Get(field); v.Type == gjson.String {
			profile[field] = v.Str
		}
	}
	return profile
}
