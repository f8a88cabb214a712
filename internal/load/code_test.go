package load

import (
	"slices"
	"strings"
	"testing"
)

// What MariaDB's dump tool writes of routines: each is dropped by the word that the server takes, with the settings that stood before it.
func TestRoutinesAreDroppedByTheirKind(t *testing.T) {
	text := "/*!50003 SET sql_mode = 'ANSI' */ ;\nDELIMITER ;;\n" +
		"CREATE DEFINER=`a`@`%` AGGREGATE FUNCTION `most`(x INT) RETURNS int(11)\nBEGIN\n RETURN 1;\nEND ;;\n" +
		"CREATE DEFINER=`a`@`%` FUNCTION `twice`(x INT) RETURNS int(11)\nRETURN 2 * x ;;\nDELIMITER ;\n" +
		"/*!50003 SET sql_mode = 'ORACLE' */ ;\nDELIMITER ;;\nCREATE DEFINER=`a`@`%` PACKAGE  BODY `p` AS END ;;\nDELIMITER ;\n" +
		"/*!50001 CREATE VIEW `v` AS SELECT\n 1 AS `a`*/;\n/*!50001 CREATE VIEW `v` AS SELECT 2 AS `a`*/;\n"
	found, err := codeIn(strings.NewReader(text), "to")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range found {
		got = append(got, c.Kind+"|"+c.Drop+"|"+c.SQLMode)
	}
	want := []string{"FUNCTION|DROP FUNCTION IF EXISTS `to`.`most`|ANSI", "FUNCTION|DROP FUNCTION IF EXISTS `to`.`twice`|ANSI",
		"PACKAGE BODY|DROP PACKAGE BODY IF EXISTS `to`.`p`|ORACLE", "VIEW||"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if last := found[len(found)-1].Create; !strings.HasPrefix(last, "CREATE OR REPLACE VIEW") || !strings.Contains(last, "SELECT 2") {
		t.Errorf("the view that counts is the last one: %s", last)
	}
}
