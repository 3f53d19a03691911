package broker

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// conformanceCase is one claim about the protocol. ids are those of the checklist
// in the protocol's compendium, separated by spaces; a claim that covers several
// runs under each.
//
// The cases speak raw HTTP, or drive gosnowflake, against an upstream of our own:
// they show what the broker does. That unmodified drivers of other languages make
// of it what they should is shown by the end-to-end suite in cmd/jit. Where the
// checklist leaves a choice, the title says what jit does:
//
//   - H09, A02, C04: ids belong to one login, not to one lease.
//   - M03, P04, T05: the shipped rules decide; each is held or denied, and none runs.
//   - P01, P02: PUT and GET are not served, whatever a rule allows.
//   - R03: masks of columns that are no text are NULL and keep the type.
//   - T02: /api/v2/statements is evaluated in full.
//   - D01, D03: package cmd holds the wiring, and these two cases.
//   - D02: the broker's own listener is plain HTTP on loopback; see broker/intercept
//     for TLS.
type conformanceCase struct {
	ids, title string
	run        func(*testing.T)
}

// conformanceIDs is the checklist.
var conformanceIDs = strings.Fields(`
	L01 L02 L03 L04 L05 L06 L07 L08 L09 L10 L11 L12 L13
	S01 S02 S03 S04 S05 S06 S07
	Q01 Q02 Q03 Q04 Q05 Q06 Q07 Q08 Q09 Q10 Q11 Q12 Q13 Q14 Q15 Q16 Q17 Q18
	H01 H02 H03 H04 H05 H06 H07 H08 H09 H10 H11 H12
	A01 A02 A03
	M01 M02 M03 M04
	R01 R02 R03 R04 R05 R06 R07 R08 R09 R10 R11 R12
	C01 C02 C03 C04 C05 C06 C07 C08 C09 C10
	P01 P02 P03 P04
	T01 T02 T03 T04 T05
	D01 D02 D03 D04`)

// elsewhere are the cases of package cmd.
var elsewhere = []string{"D01", "D03"}

func allCases() []conformanceCase {
	return slices.Concat(loginCases, sessionCases, queryCases, batchCases, holdCases, asyncCases, maskCases, resultCases, chunkCases, otherCases)
}

func TestConformance(t *testing.T) {
	all := allCases()
	for _, c := range all {
		for _, id := range strings.Fields(c.ids) {
			if !slices.Contains(conformanceIDs, id) {
				t.Errorf("%s (%s) is not on the checklist", id, c.title)
			}
		}
	}
	for _, id := range conformanceIDs {
		if slices.Contains(elsewhere, id) {
			continue
		}
		t.Run(id, func(t *testing.T) {
			ran := 0
			for _, c := range all {
				if slices.Contains(strings.Fields(c.ids), id) {
					t.Run(c.title, c.run)
					ran++
				}
			}
			if ran == 0 {
				t.Error("no case")
			}
		})
	}
}

// TestChecklist compares the ids with the compendium's, and with the cases that
// package cmd has.
func TestChecklist(t *testing.T) {
	source, err := os.ReadFile("../cmd/conformance_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range elsewhere {
		if !strings.Contains(string(source), `"`+id+`"`) {
			t.Errorf("package cmd has no case %s", id)
		}
	}
	const path = "../../shared/WIRE.md"
	compendium, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("NOT COMPARED: the compendium is not at %s; the %d ids above stand for it", path, len(conformanceIDs))
	}
	_, checklist, ok := strings.Cut(string(compendium), "\n## 6. ")
	if !ok {
		t.Fatal("the compendium has no chapter 6")
	}
	checklist, _, _ = strings.Cut(checklist, "\n## ")
	var ids []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]\d\d) \|`).FindAllStringSubmatch(checklist, -1) {
		ids = append(ids, m[1])
	}
	if !slices.Equal(ids, conformanceIDs) {
		t.Errorf("the compendium lists %d cases, here are %d:\n%v\n%v", len(ids), len(conformanceIDs), ids, conformanceIDs)
	}
}
