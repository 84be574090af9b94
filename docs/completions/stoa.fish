# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_stoa_global_optspecs
    string join \n h/help V/version
end

function __fish_stoa_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_stoa_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_stoa_using_subcommand
    set -l cmd (__fish_stoa_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c stoa -n "__fish_stoa_needs_command" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_needs_command" -s V -l version -d 'Print version'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "run" -d 'Run a script or a program, isolated and recorded'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "ps" -d 'List runs'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "show" -d 'Show everything known of a run'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "logs" -d 'Print the output of a run'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "attach" -d 'Follow a run: its output here, Ctrl-C stops it'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "wait" -d 'Wait for runs to end, and end with the exit code of the last one'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "stop" -d 'Stop runs: SIGTERM, and SIGKILL after a grace period'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "again" -d 'Repeat a run: same program, arguments, environment, limits and code'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "rm" -d 'Remove runs with everything kept of them'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "watch" -d 'Watch the curves of a run on the whole screen'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "plot" -d 'Draw curves of a run in the terminal or as SVG'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "metrics" -d 'List the metrics of a run, or print their points'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "doctor" -d 'Examine this machine: what can be enforced, and whether it meets the requirements'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "daemon" -d 'Start, stop or examine the daemon; it also starts by itself'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "completions" -d 'Print shell completions'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "exit-codes" -d 'List the exit codes'
complete -c stoa -n "__fish_stoa_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stoa -n "__fish_stoa_using_subcommand run" -l name -d 'A name for the run; it serves wherever its id does' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -l cpus -d 'Processors, such as 2 or 0.5' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -l memory -d 'Memory of all its processes together, such as 512M or 2G' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -l pids -d 'Processes and threads' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -l gpus -d 'GPUs to have for itself; without this it sees all' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -l time-limit -d 'Wall-clock time, such as 90s, 10m or 1h30m' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -s e -l env -d 'Set a variable, or pass one that is hidden as a secret by its name alone' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -l mount -d 'Make a file or folder visible, read-only with :ro' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -l net -d 'Network access' -r -f -a "host\t'The network of this machine'
none\t'A loopback device of its own and nothing else'"
complete -c stoa -n "__fish_stoa_using_subcommand run" -l retries -d 'How often to start it again when it fails' -r
complete -c stoa -n "__fish_stoa_using_subcommand run" -l python -d 'Use this Python interpreter with its packages, and resolve nothing' -r -F
complete -c stoa -n "__fish_stoa_using_subcommand run" -s d -l detach -d 'Start it and return; prints its id'
complete -c stoa -n "__fish_stoa_using_subcommand run" -s w -l watch -d 'Draw its learning curve instead of its output'
complete -c stoa -n "__fish_stoa_using_subcommand run" -l allow-degraded -d 'Start even where some isolation cannot be enforced; the run\'s record says what is missing'
complete -c stoa -n "__fish_stoa_using_subcommand run" -l json -d 'Print the run\'s record as JSON at its end; its output goes to standard error'
complete -c stoa -n "__fish_stoa_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stoa -n "__fish_stoa_using_subcommand ps" -s a -l all -d 'All runs, not only the newest'
complete -c stoa -n "__fish_stoa_using_subcommand ps" -s l -l live -d 'Only runs that have not ended'
complete -c stoa -n "__fish_stoa_using_subcommand ps" -l json -d 'Print JSON'
complete -c stoa -n "__fish_stoa_using_subcommand ps" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand show" -l json -d 'Print JSON'
complete -c stoa -n "__fish_stoa_using_subcommand show" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand logs" -s n -l tail -d 'Only the last lines' -r
complete -c stoa -n "__fish_stoa_using_subcommand logs" -s f -l follow -d 'Go on until the run has ended'
complete -c stoa -n "__fish_stoa_using_subcommand logs" -l json -d 'One JSON object per piece: stream, time, text'
complete -c stoa -n "__fish_stoa_using_subcommand logs" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand attach" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand wait" -l json -d 'Print the records as JSON'
complete -c stoa -n "__fish_stoa_using_subcommand wait" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand stop" -l grace -d 'Time between SIGTERM and SIGKILL' -r
complete -c stoa -n "__fish_stoa_using_subcommand stop" -s k -l kill -d 'SIGKILL at once'
complete -c stoa -n "__fish_stoa_using_subcommand stop" -l json -d 'Print the records as JSON'
complete -c stoa -n "__fish_stoa_using_subcommand stop" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand again" -l name -d 'A name for the new run' -r
complete -c stoa -n "__fish_stoa_using_subcommand again" -s d -l detach -d 'Start it and return; prints its id'
complete -c stoa -n "__fish_stoa_using_subcommand again" -l json -d 'Print the run\'s record as JSON at its end; its output goes to standard error'
complete -c stoa -n "__fish_stoa_using_subcommand again" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand rm" -l ended -d 'All runs that have ended'
complete -c stoa -n "__fish_stoa_using_subcommand rm" -s f -l force -d 'Kill runs that have not ended'
complete -c stoa -n "__fish_stoa_using_subcommand rm" -l json -d 'Print the ids as JSON'
complete -c stoa -n "__fish_stoa_using_subcommand rm" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand watch" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand plot" -l svg -d 'Write an SVG picture' -r -F
complete -c stoa -n "__fish_stoa_using_subcommand plot" -l smooth -d 'Weight of a moving average, from 0 to 1' -r
complete -c stoa -n "__fish_stoa_using_subcommand plot" -l width -d 'Columns, or pixels of an SVG' -r
complete -c stoa -n "__fish_stoa_using_subcommand plot" -l height -d 'Lines, or pixels of an SVG' -r
complete -c stoa -n "__fish_stoa_using_subcommand plot" -l log -d 'Logarithmic values'
complete -c stoa -n "__fish_stoa_using_subcommand plot" -l time -d 'Over time instead of steps'
complete -c stoa -n "__fish_stoa_using_subcommand plot" -l json -d 'Print the drawn points as JSON'
complete -c stoa -n "__fish_stoa_using_subcommand plot" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand metrics" -l points -d 'The most points per metric in JSON; minima and maxima are kept' -r
complete -c stoa -n "__fish_stoa_using_subcommand metrics" -l json -d 'Print JSON'
complete -c stoa -n "__fish_stoa_using_subcommand metrics" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand doctor" -l json -d 'Print JSON'
complete -c stoa -n "__fish_stoa_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and not __fish_seen_subcommand_from start stop status help" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and not __fish_seen_subcommand_from start stop status help" -f -a "start" -d 'Start the daemon if it does not run'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and not __fish_seen_subcommand_from start stop status help" -f -a "stop" -d 'Stop the daemon; runs go on, and the next command starts it again'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and not __fish_seen_subcommand_from start stop status help" -f -a "status" -d 'Show whether the daemon runs, and where'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and not __fish_seen_subcommand_from start stop status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from start" -l json -d 'Print JSON'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l json -d 'Print JSON'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from status" -l json -d 'Print JSON'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from help" -f -a "start" -d 'Start the daemon if it does not run'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from help" -f -a "stop" -d 'Stop the daemon; runs go on, and the next command starts it again'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show whether the daemon runs, and where'
complete -c stoa -n "__fish_stoa_using_subcommand daemon; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stoa -n "__fish_stoa_using_subcommand completions" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand exit-codes" -s h -l help -d 'Print help'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "run" -d 'Run a script or a program, isolated and recorded'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "ps" -d 'List runs'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "show" -d 'Show everything known of a run'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "logs" -d 'Print the output of a run'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "attach" -d 'Follow a run: its output here, Ctrl-C stops it'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "wait" -d 'Wait for runs to end, and end with the exit code of the last one'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "stop" -d 'Stop runs: SIGTERM, and SIGKILL after a grace period'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "again" -d 'Repeat a run: same program, arguments, environment, limits and code'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "rm" -d 'Remove runs with everything kept of them'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "watch" -d 'Watch the curves of a run on the whole screen'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "plot" -d 'Draw curves of a run in the terminal or as SVG'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "metrics" -d 'List the metrics of a run, or print their points'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "doctor" -d 'Examine this machine: what can be enforced, and whether it meets the requirements'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "daemon" -d 'Start, stop or examine the daemon; it also starts by itself'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "completions" -d 'Print shell completions'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "exit-codes" -d 'List the exit codes'
complete -c stoa -n "__fish_stoa_using_subcommand help; and not __fish_seen_subcommand_from run ps show logs attach wait stop again rm watch plot metrics doctor daemon completions exit-codes help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stoa -n "__fish_stoa_using_subcommand help; and __fish_seen_subcommand_from daemon" -f -a "start" -d 'Start the daemon if it does not run'
complete -c stoa -n "__fish_stoa_using_subcommand help; and __fish_seen_subcommand_from daemon" -f -a "stop" -d 'Stop the daemon; runs go on, and the next command starts it again'
complete -c stoa -n "__fish_stoa_using_subcommand help; and __fish_seen_subcommand_from daemon" -f -a "status" -d 'Show whether the daemon runs, and where'
