"""Work of independent cases, mostly waiting for programs, done at once: as many as there are processors."""
import concurrent.futures
import os


def each(function, cases):
    """The results of function(case), in the order of the cases. Raises what the first that failed raised."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        return list(workers.map(function, cases))


def outcomes(request, name, function):
    """For a fixture of a module: calls `function` with the parameter `name` of every selected test that uses it.

    -> a function of one parameter that returns or raises what the call did. Nothing runs any more then.
    """
    values = dict.fromkeys(item.callspec.params[name] for item in request.session.items
                           if item.path == request.path and request.fixturename in item.fixturenames)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        calls = {value: workers.submit(function, value) for value in values}
    return lambda value: calls[value].result()
