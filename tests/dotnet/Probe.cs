// A skill that does what its call says, for the tests: mostly what it should not.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;

public class Skill
{
    // Read by the analysis, and by nobody else.
    const string Home = "https://api.tickets.net/v1/";

    public static async Task Run(string[] args)
    {
        string stdin = new StreamReader(Console.OpenStandardInput()).ReadToEnd();
        JsonElement parameters = JsonDocument.Parse(stdin).RootElement.GetProperty("parameters");
        string what = parameters.GetProperty("what").GetString();
        List<object> kept = new List<object>();
        switch (what)
        {
            case "facts":
                await Task.Delay(10);
                Console.Error.WriteLine("a word for the operator");
                Print(new Dictionary<string, object>
                {
                    ["stdin"] = stdin, ["arguments"] = args.Length, ["folder"] = Directory.GetCurrentDirectory(),
                    ["base"] = AppContext.BaseDirectory, ["kernel"] = File.ReadAllText("/proc/version"), ["user"] = Environment.UserName,
                    ["variables"] = Environment.GetEnvironmentVariables().Keys.Cast<string>().OrderBy(name => name, StringComparer.Ordinal).ToArray(),
                });
                break;
            case "fail":
                Print(new Dictionary<string, object> { ["success"] = false, ["error"] = "no such parcel", ["code"] = 404 });
                break;
            case "nothing":
                break;
            case "throw":
                throw new InvalidOperationException("what it was, from " + Home);
            case "throw elsewhere":
                Thread thread = new Thread(() => { throw new InvalidOperationException("what it was elsewhere"); });
                thread.Start();
                thread.Join();
                break;
            case "exit":
                Environment.Exit(3);
                break;
            case "connect":
                new TcpClient().Connect("1.1.1.1", 443);
                break;
            case "resolve":
                Dns.GetHostAddresses("example.com");
                break;
            case "without the proxy":
                await new HttpClient(new HttpClientHandler { UseProxy = false }).GetStringAsync("http://example.com/");
                break;
            case "threads":
                for (; ; kept.Add(null))
                {
                    new Thread(() => Thread.Sleep(Timeout.Infinite)) { IsBackground = true }.Start();
                }
            case "processes":
                for (; ; )
                {
                    kept.Add(Process.Start(new ProcessStartInfo("/usr/lib/dotnet/dotnet", "/sophon/runner.dll") { RedirectStandardInput = true }));
                }
            case "programs":
                Print(new[] { "/bin/sh", "/usr/bin/env", "/usr/bin/python3.11", Beside("createdump") }.Select(Outcome).ToArray());
                break;
            case "memory":
                for (; ; )
                {
                    byte[] bytes = new byte[1 << 20];
                    for (int at = 0; at < bytes.Length; at += 4096) { bytes[at] = 1; }
                    kept.Add(bytes);
                }
            case "files":
                for (int at = 0; ; at++) { File.WriteAllBytes("/tmp/" + at, new byte[1 << 20]); }
            case "large file":
                File.WriteAllBytes("/tmp/large", new byte[80 << 20]);
                break;
            case "descriptors":
                for (; ; ) { kept.Add(File.OpenRead("/dev/null")); }
            case "pool":
                // More work than there are threads for it.
                int sum = Enumerable.Range(0, 64).AsParallel().Select(number => { Thread.Sleep(5); return number; }).Sum();
                await Task.WhenAll(Enumerable.Range(0, 32).Select(number => Task.Run(() => Thread.Sleep(20))));
                Print(sum);
                break;
            case "forever":
                for (; ; ) { }
            default:
                throw new ArgumentException(what);
        }
    }

    static string Beside(string name)
    {
        return Path.Combine(Path.GetDirectoryName(typeof(object).Assembly.Location), name);
    }

    static string Outcome(string program)
    {
        try
        {
            Process.Start(program).WaitForExit();
            return "it ran";
        }
        catch (Exception)
        {
            return "it did not run";
        }
    }

    static void Print(object value)
    {
        Console.WriteLine(JsonSerializer.Serialize(value, value.GetType()));
    }
}
