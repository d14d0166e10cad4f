"""Words of the command line -> values; values -> words for people and programs.

    commands            the commands, the options of each, their help
    words, former       words -> a command line in parts; former options -> what to type now
    options             a command line -> values and requests, checked
    site_options        the text of one option -> its value, checked
    main                runs a command; the edge that prints and exits, with demo and meter
    summary, inspected  what was built or found -> facts for programs, a page for people
Imports every other folder.
"""
