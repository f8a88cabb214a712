#!/usr/bin/perl
system("mysql -psecret -e 'FLUSH TABLES WITH READ LOCK'"); sleep 5;
