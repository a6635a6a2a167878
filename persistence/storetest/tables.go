package storetest

import "github.com/matrixon/matrixon/persistence"

// typed has a column of every type, in the key and outside.
type typed struct {
	Text     string  `col:"text,key"`
	Signed   int64   `col:"signed,key"`
	Unsigned uint64  `col:"unsigned,key"`
	Flag     bool    `col:"flag,key"`
	Blob     []byte  `col:"blob,key"`
	VText    string  `col:"v_text"`
	VNull    *string `col:"v_null"`
	VSigned  int64   `col:"v_signed"`
	VUnsig   uint64  `col:"v_unsigned"`
	VFlag    bool    `col:"v_flag"`
	VBlob    []byte  `col:"v_blob"`
	VJSON    []byte  `col:"v_json,json"`
}

// pair is an ordinary table.
type pair struct {
	Group string `col:"grp,key"`
	N     int64  `col:"n,key"`
	Name  string `col:"name,key"`
	Value string `col:"value"`
	Pos   uint64 `col:"pos,position"`
}

// entry is ordered by position.
type entry struct {
	Group string `col:"grp,key"`
	Pos   uint64 `col:"pos,key,position"`
	N     uint64 `col:"n,key"`
	Born  uint64 `col:"born,position,once"`
}

var (
	typedRows = persistence.NewTable[typed]("storetest_types")
	pairs     = persistence.NewTable[pair]("storetest_pairs")
	entries   = persistence.NewTable[entry]("storetest_entries")
)
