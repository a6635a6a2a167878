package schema

import "github.com/matrixon/matrixon/persistence"

// ProfileChange says when a field of a user's profile last changed. Written by the user's actor, with the ProfileField.
type ProfileChange struct {
	UserID string `col:"user_id,key"`
	Field  string `col:"field,key"`
	Pos    uint64 `col:"pos,position"`
}

// ProfileLog orders the ProfileChanges, of which each has one row, so that those since a position are found.
type ProfileLog struct {
	Pos    uint64 `col:"pos,key,position"`
	UserID string `col:"user_id,key"`
	Field  string `col:"field,key"`
}

// The tables of changed profiles.
var (
	ProfileChanges = persistence.NewTable[ProfileChange]("profile_changes")
	ProfileLogs    = persistence.NewTable[ProfileLog]("profile_log")
)
