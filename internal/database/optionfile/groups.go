package optionfile

var clientGroups = []string{"client", "mysql", "client-mariadb", "mariadb-client", "client-server", "holdstill"}
