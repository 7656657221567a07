raise SystemExit("a plug-in is found without being imported")
