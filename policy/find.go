package policy

import (
	"slices"

	"github.com/jit-access/jit/policy/sql"
)

// findings are what a statement touches beyond its objects.
type findings struct {
	outputs, maskedOutputs       []string // classes, sorted
	predicates, maskedPredicates []string
	stored                       []string
	topOutputs, topPredicates    bool
	read                         bool // something it reads is classified, or may be
	unknown                      bool
	masks                        []ColumnMask // one per output, if they are known
	rest                         ColumnMask   // for columns that masks does not list
}

// touches reports whether anything the statement reads may be classified,
// whether or not it gets any further: error texts quote it.
func (f *findings) touches() bool {
	return f.read || len(f.outputs)+len(f.predicates)+len(f.stored) > 0 || f.topOutputs || f.topPredicates || f.unknown
}

// returnsData reports whether a statement of this category answers with rows
// that come from tables, so that columns nobody listed must be hidden.
func returnsData(c sql.Category) bool {
	switch c {
	case sql.CategoryMetadata, sql.CategorySession, sql.CategoryTransaction, sql.CategoryWrite, sql.CategoryDefine,
		sql.CategoryPrivilege, sql.CategoryCredential, sql.CategoryRole, sql.CategoryLoad, sql.CategoryUnload, sql.CategoryTransfer:
		return false
	}
	return true // queries, calls, scripts, and what is not known
}

// find looks up the classes of everything a statement outputs or filters on.
// clear says which classes the subject may read.
func (t *classTable) find(s *sql.Statement, clear func(class string) bool) findings {
	f := findings{
		topPredicates: s.Predicates.Top,
		unknown:       s.Kind == sql.KindUnknown || s.Kind == "" || s.Category == sql.CategoryUnknown || len(s.Unknown) > 0,
	}
	for _, o := range slices.Concat(s.Reads, s.Writes) {
		f.unknown = f.unknown || o.Name.Name == "" && o.Name.Schema == "" && o.Name.Database == ""
	}
	for _, col := range s.Predicates.Columns {
		for _, c := range t.of(col) {
			f.predicates = append(f.predicates, c.name)
			if !clear(c.name) {
				f.maskedPredicates = append(f.maskedPredicates, c.name)
			}
		}
	}
	for _, col := range s.Stored.Columns {
		for _, c := range t.of(col) {
			f.stored = append(f.stored, c.name)
		}
	}
	if returnsData(s.Category) {
		f.topOutputs = !s.OutputsKnown
		f.rest = ColumnMask{Class: UnknownClass, Mask: MaskRedact}
	}
	if s.OutputsKnown {
		f.masks = make([]ColumnMask, len(s.Outputs))
	}
	for i, o := range s.Outputs {
		var cm ColumnMask
		if o.Labels.Top {
			f.topOutputs = true
			if !clear(UnknownClass) {
				cm = ColumnMask{Class: UnknownClass, Mask: MaskRedact}
			}
		}
		// A column seen through views carries the label of each of them.
		direct := o.Direct && !o.Labels.Top
		for _, col := range o.Labels.Columns {
			for _, c := range t.of(col) {
				f.outputs = append(f.outputs, c.name)
				if counted := o.Counts && c.counts && !o.Labels.Top; !counted && !clear(c.name) {
					f.maskedOutputs = append(f.maskedOutputs, c.name)
					cm = strictest(cm, c.columnMask(direct))
				}
			}
		}
		if f.masks != nil {
			f.masks[i] = cm
		}
	}
	f.read = s.Touched.Top || slices.ContainsFunc(s.Touched.Columns, func(col sql.Column) bool { return len(t.of(col)) > 0 })
	for _, list := range []*[]string{&f.outputs, &f.maskedOutputs, &f.predicates, &f.maskedPredicates, &f.stored} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return f
}
