package schema

import "github.com/matrixon/matrixon/persistence"

// DelayedEvent is an event that a user wants to be sent later (MSC4140). It is written by the actor of the user, and becomes a
// FinalisedDelayedEvent.
type DelayedEvent struct {
	UserID         string  `col:"user_id,key"`
	DelayID        string  `col:"delay_id,key"`
	RoomID         string  `col:"room_id"`
	Type           string  `col:"type"`
	StateKey       *string `col:"state_key"`
	Content        []byte  `col:"content,json"`
	DelayMS        int64   `col:"delay_ms"`
	ScheduledTS    int64   `col:"scheduled_ts"`     // ms; when it was scheduled or last restarted
	OriginServerTS int64   `col:"origin_server_ts"` // ms; 0: when it is sent (timestamp massaging)
	// DueTS is when sending it is tried next, in ms; DelayedDue has the row that says so.
	DueTS int64 `col:"due_ts"`
	// Sending: an attempt has begun whose fate is not known, so that it can neither be cancelled nor restarted.
	Sending   bool  `col:"sending"`
	Attempts  int64 `col:"attempts"`  // that have begun
	Unlimited bool  `col:"unlimited"` // no rate is held against the user
}

// DelayedSticky says of a delayed event that it is a sticky one (MSC4354). Written and deleted with the DelayedEvent.
type DelayedSticky struct {
	UserID   string `col:"user_id,key"`
	DelayID  string `col:"delay_id,key"`
	StickyMS int64  `col:"sticky_ms"`
}

// DelayedDue orders the delayed events of all users by when they are due. Written with the DelayedEvent.
type DelayedDue struct {
	DueTS   int64  `col:"due_ts,key"`
	UserID  string `col:"user_id,key"`
	DelayID string `col:"delay_id,key"`
	RoomID  string `col:"room_id"`
}

// DelayID finds a delayed event by its id alone. Written with the event, deleted when it is forgotten.
type DelayID struct {
	DelayID     string `col:"delay_id,key"`
	UserID      string `col:"user_id"`
	FinalisedTS int64  `col:"finalised_ts"` // ms; 0 while it is scheduled
}

// FinalisedDelayedEvent is one that has been sent, or cancelled, or could not be sent. It is kept for a while for its user to look at.
type FinalisedDelayedEvent struct {
	UserID      string  `col:"user_id,key"`
	FinalisedTS int64   `col:"finalised_ts,key"` // ms
	DelayID     string  `col:"delay_id,key"`
	RoomID      string  `col:"room_id"`
	Type        string  `col:"type"`
	StateKey    *string `col:"state_key"`
	Content     []byte  `col:"content,json"`
	DelayMS     int64   `col:"delay_ms"`
	ScheduledTS int64   `col:"scheduled_ts"` // ms
	EventID     string  `col:"event_id"`     // empty: it was not sent
	Error       []byte  `col:"error,json"`   // the standard error response; nil: there was none
}

// The tables of delayed events.
var (
	DelayedEvents          = persistence.NewTable[DelayedEvent]("delayed_events")
	DelayedStickies        = persistence.NewTable[DelayedSticky]("delayed_sticky")
	DelayedDues            = persistence.NewTable[DelayedDue]("delayed_due")
	DelayIDs               = persistence.NewTable[DelayID]("delay_ids")
	FinalisedDelayedEvents = persistence.NewTable[FinalisedDelayedEvent]("finalised_delayed_events")
)
