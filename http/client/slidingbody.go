package client

import (
	"slices"
	"strings"

	"github.com/matrixon/matrixon/actors/sliding"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// The bounds of a request of simplified sliding sync (MSC4186).
const (
	mostSlidingLists         = 100
	mostSlidingSubscriptions = 100
	mostSlidingRanges        = 100
	longestConnID            = 255
	largestRequiredState     = 32 << 10 // bytes, of all lists and subscriptions together
	mostToDevice             = 100
	mostSticky               = 100
	slidingThreadsLimit      = 100
	mostProfileFields        = 100
)

// slidingState is how a dialect spells required_state, of which rule makes the rule that it stands for.
type slidingState interface {
	rule(userID string) (sliding.Rule, error)
	// needed reports whether required_state and timeline_limit must be there.
	needed() bool
}

// slidingBody is the body of a request, with the required_state of its dialect.
type slidingBody[S slidingState] struct {
	ConnID        string                      `json:"conn_id"`
	TxnID         string                      `json:"txn_id"`
	Pos           string                      `json:"pos"`
	Timeout       int64                       `json:"timeout"` // ms
	SetPresence   string                      `json:"set_presence"`
	Lists         map[string]*slidingList[S]  `json:"lists"`
	Subscriptions map[string]slidingConfig[S] `json:"room_subscriptions"`
	Extensions    slidingExtensions           `json:"extensions"`
}

type slidingConfig[S slidingState] struct {
	TimelineLimit *int `json:"timeline_limit"`
	RequiredState *S   `json:"required_state"`
}

type slidingList[S slidingState] struct {
	slidingConfig[S]
	Range   *[2]int        `json:"range"`  // v4
	Ranges  [][2]int       `json:"ranges"` // unstable
	Filters slidingFilters `json:"filters"`
}

type slidingFilters struct {
	IsDM         *bool     `json:"is_dm"`
	IsEncrypted  *bool     `json:"is_encrypted"`
	IsInvite     *bool     `json:"is_invite"`  // unstable
	IsInvited    *bool     `json:"is_invited"` // v4
	Spaces       []string  `json:"spaces"`
	RoomTypes    []*string `json:"room_types"`
	NotRoomTypes []*string `json:"not_room_types"`
	Tags         []string  `json:"tags"`
	NotTags      []string  `json:"not_tags"`
	RoomNameLike string    `json:"room_name_like"`
}

type slidingExtensions struct {
	ToDevice struct {
		Enabled bool   `json:"enabled"`
		Limit   *int   `json:"limit"`
		Since   string `json:"since"`
	} `json:"to_device"`
	E2EE struct {
		Enabled bool `json:"enabled"`
	} `json:"e2ee"`
	AccountData                 slidingScope    `json:"account_data"`
	Receipts                    slidingScope    `json:"receipts"`
	Typing                      slidingScope    `json:"typing"`
	ThreadSubscriptions         *slidingThreads `json:"thread_subscriptions"`
	ThreadSubscriptionsUnstable *slidingThreads `json:"io.element.msc4308.thread_subscriptions"`
	StickyEvents                struct {
		Enabled bool   `json:"enabled"`
		Limit   *int   `json:"limit"`
		Since   string `json:"since"`
	} `json:"org.matrix.msc4354.sticky_events"`
	Profiles struct {
		slidingScope
		Fields *[]string `json:"fields"`
	} `json:"org.matrix.msc4262.profiles"`
}

type slidingScope struct {
	Enabled bool     `json:"enabled"`
	Lists   []string `json:"lists"`
	Rooms   []string `json:"rooms"`
}

type slidingThreads struct {
	Enabled bool `json:"enabled"`
	Limit   *int `json:"limit"`
}

// slidingPairs are types and state keys, with wildcards (unstable).
type slidingPairs [][2]string

func (ps slidingPairs) rule(userID string) (r sliding.Rule, _ error) {
	for _, p := range ps {
		typ, stateKey := &p[0], &p[1]
		switch {
		case p[0] == "m.room.member" && p[1] == "$LAZY":
			r.LazyMembers = true
			continue
		case p[1] == "$LAZY":
			continue
		case p[1] == "$ME":
			stateKey = &userID
		case p[1] == "*":
			stateKey = nil
		}
		if p[0] == "*" {
			typ = nil
		}
		r.Include = append(r.Include, sliding.Element{Type: typ, StateKey: stateKey})
	}
	return r, sound(r)
}

// needed is false: clients of this dialect leave out what they do not want.
func (slidingPairs) needed() bool { return false }

// slidingRules are the proposal's required_state.
type slidingRules struct {
	Include     []slidingElement `json:"include"`
	Exclude     []slidingElement `json:"exclude"`
	LazyMembers bool             `json:"lazy_members"`
}

type slidingElement struct {
	Type     *string `json:"type"`
	StateKey *string `json:"state_key"`
}

func (s slidingRules) rule(string) (sliding.Rule, error) {
	r := sliding.Rule{LazyMembers: s.LazyMembers}
	for _, e := range s.Include {
		r.Include = append(r.Include, sliding.Element(e))
	}
	for _, e := range s.Exclude {
		r.Exclude = append(r.Exclude, sliding.Element(e))
	}
	return r, sound(r)
}

func (slidingRules) needed() bool { return true }

// sound refuses what no event's type or state key can be.
func sound(r sliding.Rule) error {
	bad := func(s *string) bool { return s != nil && strings.Contains(*s, "\x00") }
	if slices.ContainsFunc(slices.Concat(r.Include, r.Exclude), func(e sliding.Element) bool { return bad(e.Type) || bad(e.StateKey) }) {
		return mxerr.InvalidParam("required_state has a NUL in it")
	}
	return nil
}

// request makes the request that the body stands for; 400 M_INVALID_PARAM beyond the bounds.
func (body *slidingBody[S]) request(userID string) (sliding.Request, error) {
	req := sliding.Request{UserID: userID, ConnID: body.ConnID, Pos: body.Pos, Timeout: milliseconds(body.Timeout), SetPresence: body.SetPresence,
		Lists: map[string]sliding.List{}, Subscriptions: map[string]sliding.Config{}}
	switch {
	case len(body.ConnID) > longestConnID || strings.Contains(body.ConnID, "\x00"):
		return req, mxerr.InvalidParam("conn_id has at most %d bytes and no NUL", longestConnID)
	case body.Timeout < 0:
		return req, mxerr.InvalidParam("timeout must not be negative")
	case len(body.Lists) > mostSlidingLists:
		return req, mxerr.InvalidParam("at most %d lists can be asked for", mostSlidingLists)
	case len(body.Subscriptions) > mostSlidingSubscriptions:
		return req, mxerr.InvalidParam("at most %d rooms can be subscribed to", mostSlidingSubscriptions)
	}
	switch body.SetPresence {
	case "":
		req.SetPresence = "online"
	case "online", "offline", "unavailable":
	default:
		return req, mxerr.InvalidParam("set_presence must be one of offline, online, unavailable")
	}
	size := 0
	config := func(given slidingConfig[S]) (sliding.Config, error) {
		c, err := given.decode(userID)
		if err != nil {
			return c, err
		}
		if size += c.State.Size(); size > largestRequiredState {
			return c, mxerr.InvalidParam("required_state is too large: %d bytes at most", largestRequiredState)
		}
		return c, nil
	}
	for name, given := range body.Lists {
		if given == nil {
			return req, mxerr.BadJSON("a list is an object")
		}
		list := sliding.List{Filters: given.Filters.decode(), Ranges: given.Ranges}
		if given.Range != nil {
			list.Ranges = [][2]int{*given.Range}
		}
		if len(list.Ranges) > mostSlidingRanges ||
			slices.ContainsFunc(list.Ranges, func(span [2]int) bool { return span[0] < 0 || span[1] < span[0] }) {
			return req, mxerr.InvalidParam("a range begins at 0 or later and does not end before it begins; a list has at most %d", mostSlidingRanges)
		}
		var err error
		if list.Config, err = config(given.slidingConfig); err != nil {
			return req, err
		}
		req.Lists[name] = list
	}
	for roomID, given := range body.Subscriptions {
		c, err := config(given)
		if err != nil {
			return req, err
		}
		req.Subscriptions[roomID] = c
	}
	var err error
	req.Extensions, err = body.Extensions.decode()
	return req, err
}

func (c slidingConfig[S]) decode(userID string) (out sliding.Config, err error) {
	var state S
	switch {
	case state.needed() && (c.TimelineLimit == nil || c.RequiredState == nil):
		return out, mxerr.MissingParam("timeline_limit and required_state are required")
	case c.TimelineLimit != nil && *c.TimelineLimit < 0:
		return out, mxerr.InvalidParam("timeline_limit must not be negative")
	case c.TimelineLimit != nil:
		out.TimelineLimit = *c.TimelineLimit
	}
	if c.RequiredState != nil {
		state = *c.RequiredState
	}
	rule, err := state.rule(userID)
	out.State = sliding.Require(rule)
	return out, err
}

func (f *slidingFilters) decode() sliding.Filters {
	invited := f.IsInvited
	if invited == nil {
		invited = f.IsInvite
	}
	return sliding.Filters{IsDM: f.IsDM, IsEncrypted: f.IsEncrypted, IsInvited: invited, Spaces: f.Spaces, RoomTypes: f.RoomTypes,
		NotRoomTypes: f.NotRoomTypes, Tags: f.Tags, NotTags: f.NotTags, NameLike: f.RoomNameLike}
}

func (x *slidingExtensions) decode() (out sliding.Extensions, err error) {
	if x.ToDevice.Enabled {
		q := &sliding.ToDeviceQuery{}
		if q.Limit, err = slidingLimit(x.ToDevice.Limit, mostToDevice); err != nil {
			return out, err
		}
		if q.Since, err = inboxPos(x.ToDevice.Since); err != nil {
			return out, err
		}
		out.ToDevice = q
	}
	out.E2EE = x.E2EE.Enabled
	out.AccountData, out.Receipts, out.Typing = x.AccountData.decode(), x.Receipts.decode(), x.Typing.decode()
	if t := x.ThreadSubscriptions; t != nil && t.Enabled {
		if out.ThreadSubscriptions, err = slidingLimit(t.Limit, slidingThreadsLimit); err != nil {
			return out, err
		}
	}
	if x.StickyEvents.Enabled {
		q := &sliding.StickyQuery{}
		if q.Limit, err = slidingLimit(x.StickyEvents.Limit, mostSticky); err != nil {
			return out, err
		}
		if q.Since, err = inboxPos(x.StickyEvents.Since); err != nil {
			return out, err
		}
		out.Sticky = q
	}
	if p := &x.Profiles; p.Enabled {
		q := &sliding.ProfilesQuery{Scope: *p.decode()}
		if p.Fields != nil {
			if q.Fields = *p.Fields; len(q.Fields) > mostProfileFields || slices.ContainsFunc(q.Fields, func(f string) bool { return len(f) > id.MaxLength }) {
				return out, mxerr.InvalidParam("at most %d fields of profiles can be asked for", mostProfileFields)
			}
		}
		out.Profiles = q
	}
	return out, nil
}

// inboxPos is the position that a since of the device's messages, or of sticky events, names; 0 when there is none.
func inboxPos(since string) (uint64, error) {
	if since == "" {
		return 0, nil
	}
	t, err := token.ParseInbox(since)
	return t.Pos, err
}

// slidingLimit gives a limit of at least 1 and at most the bound, which is also what holds when none is given.
func slidingLimit(given *int, bound int) (int, error) {
	if given == nil {
		return bound, nil
	}
	if *given < 1 {
		return 0, mxerr.InvalidParam("a limit is at least 1")
	}
	return min(*given, bound), nil
}

func (s *slidingScope) decode() *sliding.Scope {
	if !s.Enabled {
		return nil
	}
	return &sliding.Scope{Lists: s.Lists, Rooms: s.Rooms}
}
