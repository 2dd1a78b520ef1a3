using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.RegularExpressions;

/// <summary>Parcels: their numbers, and where they are.</summary>
public class Skill
{
    /// <summary>Reads one call from standard input, and prints its result.</summary>
    public static void Run(string[] args)
    {
        try
        {
            JsonElement call = JsonDocument.Parse(Console.In.ReadToEnd()).RootElement;
            JsonElement parameters = call.GetProperty("parameters");
            Answer(Do(call.GetProperty("tool").GetString(), parameters));
        }
        catch (Refused refused)
        {
            Print(new Dictionary<string, object> { ["success"] = false, ["error"] = refused.Message });
        }
    }

    private static object Do(string tool, JsonElement parameters)
    {
        switch (tool)
        {
            case "parcel-desk.check":
                return Check(Text(parameters, "text"));
            case "parcel-desk.where":
                return Where(parameters);
            default:
                throw new Refused("unknown tool " + tool);
        }
    }

    /// <summary>Numbers as carriers of the Universal Postal Union write them (S10): two letters, eight digits and one that
    /// checks them, the country.</summary>
    private static object Check(string text)
    {
        return Regex.Matches(text.ToUpperInvariant(), @"\b[A-Z]{2}[0-9]{9}[A-Z]{2}\b")
            .Cast<Match>()
            .Select(found => found.Value)
            .Distinct()
            .Select(number => new Dictionary<string, object> { ["number"] = number, ["valid"] = IsWellFormed(number) })
            .ToList();
    }

    private static bool IsWellFormed(string number)
    {
        int[] weights = { 8, 6, 4, 2, 3, 5, 9, 7 };
        int sum = weights.Select((weight, at) => weight * (number[at + 2] - '0')).Sum();
        int check = 11 - sum % 11;
        return number[10] - '0' == (check == 10 ? 0 : check == 11 ? 5 : check);
    }

    private static object Where(JsonElement parameters)
    {
        string number = Text(parameters, "number").Trim().ToUpperInvariant();
        string address = Text(parameters, "base_url").TrimEnd('/') + "/v1/parcels/" + Uri.EscapeDataString(number);
        using (HttpClient client = new HttpClient { Timeout = TimeSpan.FromSeconds(20) })
        {
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Text(parameters, "token"));
            HttpResponseMessage answer = client.GetAsync(address).GetAwaiter().GetResult();
            string body = answer.Content.ReadAsStringAsync().GetAwaiter().GetResult();
            if (!answer.IsSuccessStatusCode)
            {
                throw new Refused("the carrier answers " + (int)answer.StatusCode);
            }
            return JsonDocument.Parse(body).RootElement;
        }
    }

    private static string Text(JsonElement parameters, string name)
    {
        JsonElement value;
        if (!parameters.TryGetProperty(name, out value) || value.ValueKind != JsonValueKind.String)
        {
            throw new Refused(name + " is missing");
        }
        return value.GetString();
    }

    private static void Answer(object result)
    {
        Print(new Dictionary<string, object> { ["success"] = true, ["result"] = result });
    }

    private static void Print(Dictionary<string, object> value)
    {
        Console.WriteLine(JsonSerializer.Serialize(value));
    }

    /// <summary>What is said to the agent.</summary>
    private sealed class Refused : Exception
    {
        public Refused(string message) : base(message)
        {
        }
    }
}
