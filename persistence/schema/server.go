package schema

import "github.com/matrixon/matrixon/persistence"

// Setting is a fact about the whole server that must not change behind the data's back, such as its name.
type Setting struct {
	Name  string `col:"name,key"`
	Value string `col:"value"`
}

// Settings is the table of the server's own facts.
var Settings = persistence.NewTable[Setting]("settings")
