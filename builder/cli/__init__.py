"""The command line -> values; values -> text for people, JSON for programs.

    commands            the commands, the options of each, their help
    words, former       arguments -> a command line in parts; former options -> what to type now
    options             a command line -> options and requests, checked
    site_options        the text of one option -> its value, checked
    main                runs a command, prints and exits; only demo and meter print, too
    summary, inspected  a build, a check, archives -> facts for programs, a page for people
Imports every other folder.
"""
