"""Words of the command line -> values; values -> words for people and programs.

    options       words -> requests, checked
    site_options  the text of an option of the site -> its value, checked
    main          runs a request; the edge that prints and exits, with demo and meter
    summary       what was built -> facts for programs, a page for people
Imports every other folder.
"""
